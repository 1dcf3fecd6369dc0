"""The numerics of `example_dags/longstaff_schwartz.py`: no grid, only the handler called by hand."""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")
sys.path.insert(0, str(Path(__file__).parents[2] / "example_dags"))

import numpy as np

import longstaff_schwartz as model
import longstaff_schwartz_cli as commands
import longstaff_schwartz_report as presentation
from longstaff_schwartz import PUBLISHED, Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

every_row = pytest.mark.parametrize("row", PUBLISHED, ids=[row.label for row in PUBLISHED])


@pytest.fixture(scope="module")
def results() -> list[model.Result]:
    """Two batches of every row, a quarter of the default size."""
    return [model.price(event, None) for event in model.events(paths=25_000, batch_paths=12_500, seed=1)]


@every_row
def test_the_closed_form_is_the_published_european_value(row: Row) -> None:
    ours = model.european(row.spot, row.volatility, row.maturity)
    assert ours == pytest.approx(row.european, abs=0.0011)


@every_row
def test_finite_differences_are_the_published_ones(row: Row) -> None:
    ours = model.finite_difference(row.spot, row.volatility, row.maturity)
    assert ours == pytest.approx(row.finite_difference, abs=0.01)


@pytest.mark.parametrize("row", [PUBLISHED[0], PUBLISHED[9], PUBLISHED[19]], ids=lambda row: row.label)
def test_finite_differences_have_converged(row: Row) -> None:
    option = (row.spot, row.volatility, row.maturity)
    finer = model.finite_difference(*option, steps_per_exercise=12, half_width=1200)
    assert model.finite_difference(*option) == pytest.approx(finer, abs=5e-4)


def test_a_reduced_simulation_agrees_with_the_paper_in_every_row(results: list[model.Result]) -> None:
    comparisons = presentation.compare(model.combine(results))
    assert len(comparisons) == 20
    assert [item.published.label for item in comparisons if not item.agrees] == []


def test_without_exercise_the_simulation_gives_the_european_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "exercise", lambda _moneyness, _cashflow: None)
    (estimate,) = model.combine(model.price(event, None) for event in model.events(PUBLISHED[3:4])).values()
    assert abs(estimate.value - model.european(36, 0.4, 2)) < 4 * estimate.standard_error


def test_the_bridge_draws_a_brownian_motion(monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[NDArray[np.float64]] = []
    monkeypatch.setattr(model, "exercise", lambda moneyness, _cashflow: walks.append(np.log(moneyness).ravel()))
    spot, volatility, maturity, pairs = 40.0, 0.2, 1.0, 40_000
    model.present_values(spot, volatility, maturity, pairs, np.random.default_rng(7))
    logs = np.array(walks[::-1])
    times = np.arange(1, 50) / 50

    assert logs.mean(axis=1) == pytest.approx((model.RATE - 0.5 * volatility**2) * times, abs=1e-12)
    steps = np.diff(logs, axis=0, prepend=0.0)
    covariance = np.cov(steps) * 50 / volatility**2
    assert covariance == pytest.approx(np.eye(49), abs=0.03)


def test_antithetic_paths_are_cheaper_than_independent_ones(results: list[model.Result]) -> None:
    estimates = model.combine(results)
    for number, row in enumerate(PUBLISHED):
        assert estimates[number].standard_error < 2 * row.standard_error


def test_few_paths_in_the_money_wait() -> None:
    moneyness = np.linspace(0.9, 1.5, 100)
    cashflow = np.zeros(100)
    assert 0 < (moneyness < 1).sum() < model.MIN_REGRESSION_PATHS
    model.exercise(moneyness, cashflow)
    assert not cashflow.any()


def test_worthless_waiting_exercises_every_path_in_the_money() -> None:
    moneyness = np.linspace(0.5, 1.5, 1001)
    cashflow = np.zeros(1001)
    model.exercise(moneyness, cashflow)
    assert cashflow == pytest.approx(model.STRIKE * np.maximum(1 - moneyness, 0))


def test_every_batch_has_its_own_stream_and_repeats_it() -> None:
    events = list(model.events())
    draws = np.array([model.generator(event).standard_normal(2000) for event in events])
    again = np.array([model.generator(event).standard_normal(2000) for event in events])
    assert np.array_equal(draws, again)
    correlations = np.corrcoef(draws) - np.eye(len(events))
    assert np.abs(correlations).max() < 6 / np.sqrt(2000)
    (other,) = model.events(PUBLISHED[:1], paths=100, seed=2)
    assert not np.isin(model.generator(other).standard_normal(2000), draws).any()


def test_combining_is_exact_in_any_order() -> None:
    events = list(model.events(PUBLISHED[:3], paths=6_000, batch_paths=2_000))
    order = np.random.default_rng(3).permutation(len(events))
    estimates = model.combine(model.price(events[index], None) for index in order)
    assert list(estimates) == [0, 1, 2]
    for number, estimate in estimates.items():
        pairs = np.concatenate([
            model.present_values(
                event["spot"], event["volatility"], event["maturity"], 1_000, model.generator(event)
            ).mean(axis=0)
            for event in events
            if event["row"] == number
        ])  # fmt: skip
        assert estimate.pairs == pairs.size == 3_000
        assert estimate.value == pytest.approx(pairs.mean(), rel=1e-12)
        assert estimate.standard_error == pytest.approx(pairs.std(ddof=1) / np.sqrt(pairs.size), rel=1e-12)


def test_events_cover_every_row_and_batch_once() -> None:
    events = list(model.events(paths=30_000, batch_paths=10_000))
    assert [(event["row"], event["batch"]) for event in events] == list(product(range(20), range(3)))
    assert {event["paths"] for event in events} == {10_000}
    assert json.loads(json.dumps(events)) == events


@pytest.mark.parametrize(("paths", "batch_paths"), [(1000, 300), (999, 333), (2, 2), (0, 10)])
def test_paths_that_do_not_split_evenly_are_refused(paths: int, batch_paths: int) -> None:
    with pytest.raises(ValueError, match="batches"):
        list(model.events(paths=paths, batch_paths=batch_paths))


def test_the_report_succeeds_only_if_every_row_agrees(
    results: list[model.Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert presentation.conclude(results, tmp_path) == 0
    assert (tmp_path / "american_puts.png").stat().st_size > 10_000
    assert "20 of 20 rows agree" in capsys.readouterr().out

    assert presentation.conclude(results[:-2], tmp_path) == 1
    assert "only 19 of 20 rows" in capsys.readouterr().err

    wrong = [{**result, "mean": result["mean"] + 0.2 * (result["row"] == 5)} for result in results]
    assert presentation.conclude(wrong, tmp_path) == 1  # type: ignore[arg-type]
    assert capsys.readouterr().err.count(PUBLISHED[5].label) == 1


def test_the_command_line_writes_events_and_reads_results(
    results: list[model.Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["events", "--paths", "25000", "--batch", "12500", "--seed", "1"]) == 0
    questions, answers = tmp_path / "events.jsonl", tmp_path / "results.jsonl"
    questions.write_text(capsys.readouterr().out)
    answers.write_text("".join(f"{json.dumps(result)}\n" for result in results))
    report = ["report", str(answers), str(questions), "--out", str(tmp_path)]
    assert commands.main(report) == 0

    answers.write_text("".join(f"{json.dumps(result)}\n" for result in reversed(results)))
    with pytest.raises(ValueError, match=r"line 1 of .* does not answer"):
        commands.main(report)
