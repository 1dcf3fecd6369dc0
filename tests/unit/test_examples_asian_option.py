"""The model behind the example of a large Monte Carlo."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

import asian_option as model


def test_batches_put_together_are_the_whole() -> None:
    """Whatever their order, and however many of them were added up before."""
    batches = [model.simulate(event, None) for event in model.events(40_000, 10_000)]
    half = tuple(np.sum(batches[:2], axis=0))
    whole, other = model.combine(batches), model.combine([batches[3], half, batches[2]])
    assert whole.paths == other.paths == 40_000
    assert whole.value == pytest.approx(other.value)
    assert whole.standard_error == pytest.approx(other.standard_error)


def test_the_simulation_agrees_with_the_closed_form() -> None:
    estimate = model.combine(model.simulate(event, None) for event in model.events(200_000, 20_000))
    assert abs(estimate.geometric - model.geometric_call()) < 4 * estimate.geometric_error
    assert abs(estimate.value - estimate.plain) < 4 * estimate.plain_error
    assert estimate.standard_error < estimate.plain_error / 10
    assert estimate.value > model.geometric_call(), "an arithmetic average is never below the geometric one"


def test_the_closed_form_of_one_fixing_is_black_and_scholes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "FIXINGS", 1)
    d1 = (math.log(model.SPOT / model.STRIKE) + model.RATE + 0.5 * model.VOLATILITY**2) / model.VOLATILITY
    normal = NormalDist().cdf
    expected = model.SPOT * normal(d1) - model.STRIKE * math.exp(-model.RATE) * normal(d1 - model.VOLATILITY)
    assert model.geometric_call() == pytest.approx(expected, rel=1e-12)


def test_batches_differ_and_repeat() -> None:
    first, second = (model.simulate(event, None) for event in model.events(2000, 1000))
    assert first != second
    assert first == model.simulate(next(model.events(2000, 1000)), None)


def test_paths_must_be_a_number_of_batches() -> None:
    with pytest.raises(ValueError, match="not a number of batches"):
        model.events(1000, 300)
