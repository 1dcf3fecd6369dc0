"""The numerics of `example_dags/value_at_risk.py`: no grid, only the handler called by hand."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")
sys.path.insert(0, str(Path(__file__).parents[2] / "example_dags"))

import numpy as np
from numpy.typing import NDArray

import value_at_risk as model
import value_at_risk_report as presentation

Vector = NDArray[np.float64]


def garch_path(days: int, omega: float, alpha: float, beta: float, rng: np.random.Generator) -> tuple[Vector, Vector]:
    """Return returns, shape (days,), and their true variances, shape (days + 1,)."""
    returns, variances = np.empty(days), np.empty(days + 1)
    variances[0] = omega / (1 - alpha - beta)
    for day in range(days):
        returns[day] = math.sqrt(variances[day]) * rng.standard_normal()
        variances[day + 1] = omega + alpha * returns[day] ** 2 + beta * variances[day]
    return returns, variances


@pytest.fixture(scope="module")
def returns() -> Vector:
    """A market of 1,300 days."""
    return garch_path(1300, 0.02, 0.08, 0.90, np.random.default_rng(1))[0]


@pytest.mark.parametrize(
    ("violations", "days", "statistic"),
    [
        # 2 (246 ln(0.984 / 0.99) + 4 ln(0.016 / 0.01)) = 2 (-1.495446 + 1.880015)
        (4, 250, 0.769138),
        # -2 * 250 ln(0.99): no violations at all
        (0, 250, 5.025168),
        # as many as there should be
        (10, 1000, 0.0),
    ],
)
def test_kupiec_by_hand(violations: int, days: int, statistic: float) -> None:
    assert model.kupiec(violations, days).statistic == pytest.approx(statistic, abs=2e-6)


def test_the_p_value_is_that_of_chi_squared_with_one_degree_of_freedom() -> None:
    statistic, p_value = model.kupiec(4, 250)
    assert p_value == pytest.approx(math.erfc(math.sqrt(statistic / 2)), rel=1e-12)


def test_kupiec_holds_its_level_when_the_model_is_right() -> None:
    counts = np.random.default_rng(5).binomial(4000, model.TAIL, size=2000)
    rejected = np.mean([model.kupiec(int(count), 4000).p_value < 0.05 for count in counts])
    assert 0.03 < rejected < 0.07


def test_christoffersen_by_hand() -> None:
    # 8 calm days, then 4 violations: 7 calm-calm, 1 calm-violation, 3 violation-violation.
    # 2 (7 ln(7/8) + ln(1/8) + 3 ln(1) - 4 ln(4/11) - 7 ln(7/11)) = 2 (-3.014162 + 7.210300)
    clustered = np.array([False] * 8 + [True] * 4)
    assert model.christoffersen(clustered).statistic == pytest.approx(8.392276, abs=2e-6)
    # A third of the days after a violation is one, and a third of the days after a calm day.
    independent = np.array([0, 0, 1, 1, 0, 0, 0, 1, 0, 0], dtype=bool)
    assert model.christoffersen(independent).statistic == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("violated", [[False] * 10, [True] * 10])
def test_christoffersen_without_contrast_is_certain_of_nothing(violated: list[bool]) -> None:
    assert model.christoffersen(np.array(violated)) == (0.0, 1.0)


def test_on_normal_returns_every_model_finds_the_normal_quantile() -> None:
    past = 0.05 + 1.2 * np.random.default_rng(2).standard_normal(20_000)
    truth = 1.2 * 2.326348 - 0.05
    forecast = model.value_at_risk(past)
    assert list(forecast) == list(model.MODELS)
    for name in ("historical", "normal", "student", "garch", "filtered"):
        assert forecast[name] == pytest.approx(truth, rel=0.05), name
    # 0.94 remembers some 30 days, so its own error is large
    assert forecast["riskmetrics"] == pytest.approx(truth, rel=0.4)


def test_student_quantile_is_that_of_the_most_likely_t() -> None:
    shocks = 0.8 * np.random.default_rng(3).standard_t(4, size=5000)
    stats = pytest.importorskip("scipy.stats")
    degrees, location, scale = stats.t.fit(shocks, floc=0.0)
    assert location == 0.0
    assert model.student_quantile(shocks) == pytest.approx(scale * stats.t.ppf(0.01, degrees), rel=1e-3)


def test_riskmetrics_weights_the_newest_day_most() -> None:
    quiet, loud_today, loud_before = np.ones(1000), np.ones(1000), np.ones(1000)
    loud_today[-1], loud_before[0] = 5.0, 5.0
    assert model.riskmetrics_variance(quiet) == pytest.approx(1.0)
    assert model.riskmetrics_variance(loud_today) == pytest.approx(1.0 + 24.0 * 0.06)
    assert model.riskmetrics_variance(loud_before) == pytest.approx(1.0)


def test_garch_recovers_the_variances_that_made_the_returns() -> None:
    shocks, truth = garch_path(5000, 0.02, 0.08, 0.90, np.random.default_rng(4))
    fitted = model.garch_variances(shocks)
    assert fitted.shape == (5001,)
    assert np.corrcoef(fitted, truth)[0, 1] > 0.99
    assert np.median(np.abs(fitted / truth - 1)) < 0.05


def test_garch_agrees_with_the_package_arch(returns: Vector) -> None:
    univariate = pytest.importorskip("arch")
    past = returns[:1000]
    fit = univariate.arch_model(past, mean="Constant", vol="GARCH", p=1, q=1).fit(disp="off")
    theirs = fit.forecast(horizon=1).variance.iloc[-1, 0]
    assert model.garch_variances(past - past.mean())[-1] == pytest.approx(theirs, rel=0.1)


def test_a_forecast_sees_only_its_window(returns: Vector) -> None:
    day, window = 1100, 1000
    event: model.Event = {"day": day, "window": window, "returns": returns.tolist()}
    forecast = model.forecast(event, None)
    changed = returns.copy()
    changed[day:], changed[: day - window] = 99.0, -99.0
    assert model.forecast({**event, "returns": changed.tolist()}, None) == forecast
    changed[day - 1] = -9.0
    assert model.forecast({**event, "returns": changed.tolist()}, None) != forecast


def test_every_day_with_a_full_window_is_an_event() -> None:
    history = object()
    events = list(model.events(1300, history))
    assert [event["day"] for event in events] == list(range(1000, 1300))
    assert all(event["returns"] is history for event in events)


def test_the_report_scores_every_model(returns: Vector, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = returns.tolist()
    forecasts = [model.forecast({"day": day, "window": 1000, "returns": history}, None) for day in range(1000, 1300)]
    results = presentation.scores(returns, forecasts)
    for score in results:
        by_hand = [-returns[forecast["day"]] > forecast["value_at_risk"][score.model] for forecast in forecasts]
        assert score.violated.tolist() == by_hand
        assert score.expected == pytest.approx(3.0)
        assert (score.verdict == "not rejected") == (not score.faults)

    presentation.report(results)
    assert "300 days, 3.0 violations due" in capsys.readouterr().out
    dates = np.arange("2018-01-01", 300, dtype="datetime64[D]")
    presentation.plot(dates, returns[1000:], results, tmp_path / "value_at_risk.png")
    assert (tmp_path / "value_at_risk.png").stat().st_size > 10_000
