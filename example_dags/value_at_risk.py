"""Six one-day value-at-risk forecasts and the two tests that tell whether to believe them.

One task forecasts one trading day from the returns before it, so a backtest of many years is as many
independent tasks. The history is a shared input: stored once, referred to by every event::

    history = grid.put(returns)
    session = grid.submit("value_at_risk.forecast", events(len(returns), history))

Units: returns are daily log returns in percent, and so is value at risk: the loss, a positive number, that
the next day exceeds with probability 1 %.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

import numpy as np
from scipy.optimize import minimize
from scipy.signal import lfilter
from scipy.special import chdtrc, expit, gammaln, ndtri, stdtrit, xlogy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

TAIL: Final = 0.01
WINDOW_DAYS: Final = 1000
RISKMETRICS_DECAY: Final = 0.94

MODELS: Final = {
    "historical": "historical simulation",
    "normal": "normal",
    "student": "Student t",
    "riskmetrics": "RiskMetrics EWMA, λ = 0.94",
    "garch": "GARCH(1,1), normal",
    "filtered": "filtered historical simulation",
}
"""Every model's name in the results, and in words."""


# --- the handler ------------------------------------------------------------------------------------------


class Event(TypedDict):
    """The day to forecast: its index into `returns`, of which the `window` returns before it may be used."""

    day: int
    window: int
    returns: Sequence[float]


class Forecast(TypedDict):
    """The value at risk of one day, in percent, by model."""

    day: int
    value_at_risk: dict[str, float]


def events(days: int, history: object, window: int = WINDOW_DAYS) -> Iterator[dict[str, object]]:
    """Yield one event for every day with a full window before it; `history` refers to the shared returns."""
    for day in range(window, days):
        yield {"day": day, "window": window, "returns": history}


def forecast(event: Event, context: object) -> Forecast:
    """Forecast one day by every model: the grid's handler."""
    day, window = event["day"], event["window"]
    past = np.asarray(event["returns"][day - window : day], dtype=np.float64)
    return Forecast(day=day, value_at_risk=value_at_risk(past))


def value_at_risk(past: Vector) -> dict[str, float]:
    """Return tomorrow's value at risk by every model, given the returns up to today, shape (window,)."""
    mean = past.mean()
    shocks = past - mean
    variances = garch_variances(shocks)
    today, tomorrow = np.sqrt(variances[:-1]), math.sqrt(variances[-1])
    quantiles = {
        "historical": np.quantile(past, TAIL),
        "normal": mean + ndtri(TAIL) * past.std(ddof=1),
        "student": mean + student_quantile(shocks),
        "riskmetrics": ndtri(TAIL) * math.sqrt(riskmetrics_variance(past)),
        "garch": mean + ndtri(TAIL) * tomorrow,
        "filtered": mean + np.quantile(shocks / today, TAIL) * tomorrow,
    }
    return {model: -float(quantile) for model, quantile in quantiles.items()}


def student_quantile(shocks: Vector) -> float:
    """Return the 1 % quantile of the scaled Student t that fits the shocks best, by maximum likelihood."""

    def cost(parameters: Vector) -> float:
        degrees, scale = 2.0 + math.exp(parameters[0]), math.exp(parameters[1])
        tails = 0.5 * (degrees + 1.0) * np.log1p(np.square(shocks / scale) / degrees).sum()
        norm = gammaln(0.5 * degrees) - gammaln(0.5 * (degrees + 1.0)) + math.log(scale * math.sqrt(degrees))
        return float(tails + shocks.size * norm)

    best = _minimum(cost, (math.log(3.0), math.log(0.7 * shocks.std())))
    degrees, scale = 2.0 + math.exp(best[0]), math.exp(best[1])
    return float(scale * stdtrit(degrees, TAIL))


def riskmetrics_variance(past: Vector) -> float:
    """Return tomorrow's exponentially weighted variance (RiskMetrics Technical Document, 1996, chapter 5)."""
    weights = RISKMETRICS_DECAY ** np.arange(past.size)[::-1]
    return float(weights @ np.square(past) / weights.sum())


def garch_variances(shocks: Vector) -> Vector:
    """Return the GARCH(1,1) variance of every day and of the next, shape (window + 1,).

    Bollerslev (1986), h_t+1 = omega + alpha e_t^2 + beta h_t, by normal quasi maximum likelihood, with omega
    set so that the long-run variance is that of the sample (variance targeting, Engle and Mezrich 1996).
    """
    squares = np.square(shocks)
    long_run = squares.mean()

    def variances(parameters: Vector) -> Vector:
        persistence, share = expit(parameters)
        alpha, beta = persistence * share, persistence * (1.0 - share)
        drive = (1.0 - persistence) * long_run + alpha * squares
        later, _ = lfilter([1.0], [1.0, -beta], drive, zi=[beta * long_run])
        return np.concatenate(([long_run], later))

    def cost(parameters: Vector) -> float:
        h = variances(parameters)[:-1]
        return float(0.5 * (np.log(h) + squares / h).sum())

    return variances(_minimum(cost, (4.0, -2.5)))


def _minimum(cost: Callable[[Vector], float], start: tuple[float, float]) -> Vector:
    """Return where the cost is least, shape (2,): two parameters need no derivatives."""
    return np.asarray(
        minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-4}).x,
        dtype=np.float64,
    )


# --- the tests --------------------------------------------------------------------------------------------


class LikelihoodRatio(NamedTuple):
    """A statistic and the chance of a larger one if the model is right: chi-squared, 1 degree of freedom."""

    statistic: float
    p_value: float


def kupiec(violations: int, days: int, tail: float = TAIL) -> LikelihoodRatio:
    """Test whether the losses exceed the forecast as often as they should: the proportion of failures.

    P. H. Kupiec, "Techniques for Verifying the Accuracy of Risk Measurement Models", *Journal of
    Derivatives* 3(2), 1995, 73-84.
    """
    return _likelihood_ratio(_bernoulli(violations, days, tail), _bernoulli(violations, days))


def christoffersen(violated: NDArray[np.bool_]) -> LikelihoodRatio:
    """Test whether a violation is as likely the day after a violation as on any other day, shape (days,).

    P. F. Christoffersen, "Evaluating Interval Forecasts", *International Economic Review* 39(4), 1998,
    841-862: independence against a first-order Markov chain.
    """
    before, after = violated[:-1], violated[1:]
    calm, stressed = after[~before], after[before]
    chain = _bernoulli(int(calm.sum()), calm.size) + _bernoulli(int(stressed.sum()), stressed.size)
    return _likelihood_ratio(_bernoulli(int(after.sum()), after.size), chain)


def _bernoulli(successes: int, trials: int, probability: float | None = None) -> float:
    """Return the log likelihood of the count, by default at its most likely probability."""
    if probability is None:
        probability = successes / max(trials, 1)
    return float(xlogy(successes, probability) + xlogy(trials - successes, 1.0 - probability))


def _likelihood_ratio(restricted: float, free: float) -> LikelihoodRatio:
    statistic = max(2.0 * (free - restricted), 0.0)
    return LikelihoodRatio(statistic, float(chdtrc(1, statistic)))
