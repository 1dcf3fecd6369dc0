"""Reducers: the same however values are grouped, and what NumPy, ``statistics`` and fractions say."""

from __future__ import annotations

import itertools
import math
import pickle
import statistics
import warnings
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htcgrid_core import InvalidInput
from htcgrid_core.reducers import Concat, Count, Histogram, Mean, Quantiles, Reducer, Several, Sum, Top, Variance

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=64)
MODERATE = st.floats(-1e100, 1e100)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=6)
INTEGERS = st.integers(-(10**30), 10**30)
EDGES = [-1e9, -1.0, 0.0, 0.5, 1e9]
REDUCERS: list[Callable[[], Reducer[Any, Any]]] = [
    Concat, Count, Mean, Sum, Variance, lambda: Histogram(EDGES), lambda: Quantiles([0, 0.01, 0.5, 1]),
    lambda: Several(total=Sum(), spread=Variance(ddof=0)), lambda: Top(3), lambda: Top(2, smallest=True),
]  # fmt: skip


def folded(reducer: Reducer[Any, Any], values: Sequence[Any]) -> Any:
    """The state of values, one after the other."""
    state = reducer.zero()
    for value in values:
        state = reducer.add(state, value)
    return state


def of(reducer: Reducer[Any, Any], values: Sequence[Any]) -> Any:
    """What comes of values."""
    return reducer.finish(folded(reducer, values))


def grouped(reducer: Reducer[Any, Any], values: Sequence[Any], cuts: Sequence[int], *, from_the_right: bool) -> Any:
    """What comes of the same values in groups, whose states travel; merged from one end or the other."""
    bounds = [0, *sorted(cut % (len(values) + 1) for cut in cuts), len(values)]
    states = [pickle.loads(pickle.dumps(folded(reducer, values[low:high]))) for low, high in itertools.pairwise(bounds)]
    if from_the_right:
        state = states.pop()
        while states:
            state = reducer.merge(states.pop(), state)
        return reducer.finish(state)
    state = reducer.zero()
    for each in states:
        state = reducer.merge(state, each)
    return reducer.finish(state)


@pytest.mark.parametrize("make", REDUCERS)
@given(
    values=st.one_of(st.lists(FLOATS), st.lists(INTEGERS), st.lists(DECIMALS)),
    cuts=st.lists(st.integers(0, 100), max_size=4),
    from_the_right=st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_grouping_does_not_show(
    make: Callable[[], Reducer[Any, Any]], values: list[Any], cuts: list[int], from_the_right: bool
) -> None:
    assert repr(grouped(make(), values, cuts, from_the_right=from_the_right)) == repr(of(make(), values))


@pytest.mark.parametrize("make", [Count, Mean, Sum, Variance, lambda: Histogram(EDGES), lambda: Quantiles([0.01, 0.5])])
@given(data=st.data(), values=st.lists(FLOATS))
@settings(max_examples=25, deadline=None)
def test_order_does_not_show(make: Callable[[], Reducer[Any, Any]], data: st.DataObject, values: list[float]) -> None:
    assert of(make(), data.draw(st.permutations(values))) == of(make(), values)


@settings(max_examples=25, deadline=None)
@given(values=st.lists(MODERATE, min_size=2))
def test_floats_are_rounded_once(values: list[float]) -> None:
    exact = [Fraction(value) for value in values]
    assert of(Sum(), values) == math.fsum(values)
    assert of(Mean(), values) == float(sum(exact) / len(exact))
    assert of(Variance(), values) == float(statistics.variance(exact))
    assert of(Variance(ddof=0), values) == float(statistics.pvariance(exact))


@settings(max_examples=25, deadline=None)
@given(values=st.lists(INTEGERS, min_size=1))
def test_integers_are_exact(values: list[int]) -> None:
    assert of(Sum(), values) == sum(values)
    assert type(of(Sum(), values)) is int
    assert of(Mean(), values) == float(Fraction(sum(values), len(values)))


@settings(max_examples=25, deadline=None)
@given(values=st.lists(DECIMALS, min_size=2))
def test_decimals_are_exact(values: list[Decimal]) -> None:
    exact = Context(prec=200)
    total = Decimal(0)
    for value in values:
        total = exact.add(total, value)
    found = of(Sum(), values)
    assert found == total
    assert type(found) is Decimal
    assert of(Mean(), values) == total / len(values)
    assert type(of(Variance(), values)) is Decimal


def test_a_variance_that_sums_of_squares_in_floats_would_lose() -> None:
    values = [1e9 + number for number in (4.0, 7.0, 13.0, 16.0)]
    assert of(Variance(), values) == 30.0


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(st.floats(-1e300, 1e300).filter(lambda x: x == 0 or abs(x) > 1e-300), min_size=1),
    q=st.floats(0, 1),
    error=st.sampled_from([0.0001, 0.001, 0.01, 0.2]),
)
def test_a_quantile_is_within_its_relative_error(values: list[float], q: float, error: float) -> None:
    exact = sorted(values)[math.floor(q * (len(values) - 1))]
    found = of(Quantiles(q, relative_error=error), values)
    assert abs(found - exact) <= error * (1 + 1e-9) * abs(exact)


@pytest.mark.parametrize("draw", ["normal", "lognormal", "standard_cauchy", "exponential"])
def test_quantiles_are_those_of_numpy(draw: str) -> None:
    values = getattr(np.random.default_rng(7), draw)(size=20_001)
    wanted = [0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0]
    found = of(Quantiles(wanted), list(values))
    assert list(found) == wanted
    for q, value in found.items():
        exact = float(np.quantile(values, q, method="lower"))
        assert abs(value - exact) <= 0.001 * (1 + 1e-9) * abs(exact)
    assert (found[0.0], found[1.0]) == (values.min(), values.max())


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.one_of(MODERATE, st.sampled_from(EDGES))))
def test_a_histogram_is_numpys(values: list[float]) -> None:
    found = of(Histogram(EDGES), values)
    assert list(found.counts) == list(np.histogram(values, EDGES)[0])
    assert found.below + sum(found.counts) + found.above == len(values)


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.integers(-5, 5)), n=st.integers(1, 4))
def test_the_top_are_the_first_of_a_stable_sort(values: list[int], n: int) -> None:
    pairs = list(enumerate(values))
    assert of(Top(n, by=1), pairs) == sorted(pairs, key=lambda pair: pair[1], reverse=True)[:n]
    assert of(Top(n, by=1, smallest=True), pairs) == sorted(pairs, key=lambda pair: pair[1])[:n]


def test_more_than_are_held_at_once() -> None:
    assert of(Top(2), range(1000)) == [999, 998]


def test_nothing() -> None:
    nothing: list[Any] = [None, None, None, 0, [], [], 0]
    assert [of(one, []) for one in (Mean(), Variance(), Quantiles(0.5), Sum(), Top(1), Concat(), Count())] == nothing
    assert of(Variance(), [1.0]) is None
    assert of(Quantiles([0.5]), []) == {0.5: None}
    assert of(Histogram([0, 1]), []).counts == (0,)


@pytest.mark.parametrize(
    "make", [Mean, Sum, Variance, lambda **how: Histogram([0, 2], **how), lambda **how: Top(3, **how)]
)
@pytest.mark.parametrize("nan", [math.nan, Decimal("NaN"), np.float64("nan")])
def test_nan_is_a_failure_or_left_out(make: Callable[..., Reducer[Any, Any]], nan: Any) -> None:
    state = folded(make(), [1, 2])
    with pytest.raises(ValueError, match="is NaN"):
        make().add(state, nan)
    assert make().finish(state) == of(make(), [1, 2])
    assert of(make(nan="omit"), [1, nan, 2]) == of(make(), [1, 2])


def test_infinities() -> None:
    assert of(Sum(), [1.0, math.inf]) == math.inf
    assert math.isnan(of(Sum(), [math.inf, -math.inf]))
    assert of(Mean(), [1.0, -math.inf]) == -math.inf
    assert math.isnan(of(Variance(), [1.0, math.inf]))
    assert of(Quantiles([0, 0.5, 1]), [-math.inf, 3.0, math.inf]) == {0.0: -math.inf, 0.5: 3.0, 1.0: math.inf}
    assert of(Histogram([0, 1]), [math.inf, Decimal("-Infinity")]).above == 1
    assert of(Sum(), [1.7e308, 1.7e308]) == math.inf


def test_scalars_of_numpy_and_bools_are_numbers() -> None:
    assert of(Sum(), [np.int64(3), np.float32(0.5), True]) == 4.5


@pytest.mark.parametrize("value", ["3", None, [1], 1j])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(TypeError, match="no number"):
        Sum().add(Sum().zero(), value)


def test_floats_among_decimals_are_refused_wherever_they_meet() -> None:
    for make in (Sum, Mean, Variance):
        with pytest.raises(InvalidInput, match="floats and Decimals"):
            grouped(make(), [1.5, Decimal(1)], [1], from_the_right=False)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(InvalidInput, match="cannot be compared"):
        of(Top(2), [1, "a"])


def test_fields_and_several() -> None:
    rows = [{"price": 1.0, "loss": -2.0}, {"price": 3.0, "loss": -4.0}]
    both = Several(mean=Mean(of="price"), worst=Top(1, by="loss", smallest=True), total=Sum(of=lambda row: row["loss"]))
    assert of(both, rows) == {"mean": 2.0, "worst": [rows[1]], "total": -6.0}
    state = folded(both, rows)
    with pytest.raises(TypeError, match="has no 'loss'"):
        both.add(state, {"price": 100.0})
    assert both.finish(state)["mean"] == 2.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Quantiles([]), lambda: Quantiles(1.5), lambda: Quantiles(0.5, relative_error=0), lambda: Histogram([1]),
        lambda: Histogram([1, 1]), lambda: Top(0), lambda: Variance(ddof=-1), lambda: Sum(nan="propagate"),  # type: ignore[arg-type]
        lambda: Top(1, nan="no"), lambda: Several(x=3),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_arguments_that_are_no_good(make: Callable[[], Any]) -> None:
    with pytest.raises(InvalidInput):
        make()


def test_concat_puts_lists_end_to_end() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert of(Concat(), [[1, 2], 3, [], [4]]) == [1, 2, 3, 4]
