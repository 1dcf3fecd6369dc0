"""An Asian call by Monte Carlo, with the geometric average as its control variate.

A. G. Z. Kemna and A. C. F. Vorst, "A Pricing Method for Options Based on Average Asset Values", *Journal of
Banking and Finance* 14, 1990, 113-129. The call pays the arithmetic average of the fixings over the strike. It has
no closed form; the same call on the geometric average has one, is nearly the same, and so takes away most of the
error. Simulating it too checks the simulation against the closed form.

One task simulates one batch of paths::

    session = grid.submit("asian_option.simulate", events())
    estimate = combine(session.results())

Units: money is in dollars, time in years, rates and volatilities are annual and continuous.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, TypedDict

import numpy as np

SPOT: Final = 100.0
STRIKE: Final = 100.0
RATE: Final = 0.05
VOLATILITY: Final = 0.3
FIXINGS: Final = 50
"""Equally spaced over one year, the last one at its end."""

PATHS: Final = 10_000_000
BATCH_PATHS: Final = 10_000
SEED: Final = 1990


class Event(TypedDict):
    """One batch of paths."""

    batch: int
    paths: int
    seed: int


Result = tuple[int, float, float, float, float, float]
"""Paths, and the sums of a, g, a², g² and a·g: the discounted payoffs on both averages."""


def events(paths: int = PATHS, batch_paths: int = BATCH_PATHS, seed: int = SEED) -> Iterator[Event]:
    """Yield one event for each batch."""
    if paths % batch_paths:
        raise ValueError(f"{paths} paths are not a number of batches of {batch_paths}")
    return (Event(batch=batch, paths=batch_paths, seed=seed) for batch in range(paths // batch_paths))


def simulate(event: Event, context: object) -> Result:
    """Simulate one batch: the grid's handler. Batches have streams of random numbers of their own."""
    rng = np.random.default_rng(np.random.SeedSequence(event["seed"], spawn_key=(event["batch"],)))
    dt = 1.0 / FIXINGS
    drift = (RATE - 0.5 * VOLATILITY**2) * dt
    steps = rng.standard_normal((FIXINGS, event["paths"]))
    logarithms = math.log(SPOT) + np.cumsum(drift + VOLATILITY * math.sqrt(dt) * steps, axis=0)
    discount = math.exp(-RATE)
    a = discount * np.maximum(np.exp(logarithms).mean(axis=0) - STRIKE, 0.0)
    g = discount * np.maximum(np.exp(logarithms.mean(axis=0)) - STRIKE, 0.0)
    return event["paths"], float(a.sum()), float(g.sum()), float(a @ a), float(g @ g), float(a @ g)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What all batches together say, in dollars.

    Attributes:
        paths: how many were simulated.
        value, standard_error: of the call on the arithmetic average, with the control variate.
        plain, plain_error: the same without it.
        geometric, geometric_error: of the call on the geometric average; its exact value is ``geometric_call()``.
    """

    paths: int
    value: float
    standard_error: float
    plain: float
    plain_error: float
    geometric: float
    geometric_error: float


def combine(results: Iterable[Result]) -> Estimate:
    """Put the batches together; they are never held."""
    sums = np.zeros(6)
    for result in results:
        sums += result
    n = sums[0]
    a, g, aa, gg, ag = sums[1:] / n
    variance_a, variance_g, covariance = aa - a * a, gg - g * g, ag - a * g
    beta = covariance / variance_g
    left = max(variance_a - beta * covariance, 0.0)
    return Estimate(
        paths=int(n),
        value=float(a - beta * (g - geometric_call())),
        standard_error=math.sqrt(left / n),
        plain=float(a),
        plain_error=math.sqrt(variance_a / n),
        geometric=float(g),
        geometric_error=math.sqrt(variance_g / n),
    )


def geometric_call() -> float:
    """Return the call on the geometric average in closed form: its logarithm is normally distributed."""
    n, dt = FIXINGS, 1.0 / FIXINGS
    mean = math.log(SPOT) + (RATE - 0.5 * VOLATILITY**2) * dt * (n + 1) / 2
    variance = VOLATILITY**2 * dt * (n + 1) * (2 * n + 1) / (6 * n)
    spread = math.sqrt(variance)
    d2 = (mean - math.log(STRIKE)) / spread
    normal = NormalDist().cdf
    return math.exp(-RATE) * (math.exp(mean + 0.5 * variance) * normal(d2 + spread) - STRIKE * normal(d2))
