"""The executor takes objects as they are: by identity, as they were when they were submitted, whatever they raise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

import pytest

from htcgrid_core import Grid, InvalidEvent, InvalidInput, TaskFailed, connect
from tests.e2e.support import GUARD_SECONDS


class Outcry(BaseException):
    """What no ``except Exception`` catches, as pytest's and greenlet's own."""


KINDS = [SystemExit, KeyboardInterrupt, GeneratorExit, Outcry, ValueError]


def cry(kind: type[BaseException]) -> None:
    """Raise."""
    raise kind("cry")


@dataclass
class CriesWhenPickled:
    """Also as a callable."""

    kind: type[BaseException]

    def __reduce__(self) -> Any:
        cry(self.kind)

    def __call__(self, *_: object) -> None:
        """Never called."""


class CriesWhenLoaded:
    """Raises wherever it is loaded."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __reduce__(self) -> Any:
        return cry, (self.kind,)


class CriesWhenAsked:
    """A callable that can be neither hashed nor compared."""

    def __call__(self, number: int) -> int:
        return number + 1

    def __hash__(self) -> int:
        return sys.exit("hashed")

    def __eq__(self, other: object) -> bool:
        return sys.exit("compared")


class ErrorThatCries(Exception):
    """Raised in a worker, it cannot be loaded by its own means."""

    def __reduce__(self) -> Any:
        return cry, (SystemExit,)


class ErrorThatCriesWhenPickled(Exception):
    """Raised in a worker, it cannot be sent, nor has it a text."""

    def __reduce__(self) -> Any:
        cry(SystemExit)

    def __str__(self) -> str:
        return sys.exit("asked for its text")


@dataclass(frozen=True)
class FrozenError(Exception):
    """Takes no attributes."""

    code: int

    def __reduce__(self) -> Any:
        return FrozenError, (self.code,)

    def __bool__(self) -> bool:
        return False


class Touchy(Exception):
    """Whoever sets an attribute ends."""

    def __setattr__(self, name: str, value: object) -> None:
        sys.exit(name)


def throw(kind: type[BaseException], *args: Any) -> None:
    """Raise in a worker."""
    raise kind(*args)


def make(kind: type[BaseException] | None) -> Any:
    """A number, or what cannot be loaded."""
    return 7 if kind is None else CriesWhenLoaded(kind)


@pytest.fixture
def grid(url: str) -> Iterator[Grid]:
    """A connection."""
    with connect(url) as connected:
        yield connected


@pytest.fixture
def pool(grid: Grid) -> Iterator[Executor]:
    """An executor, whose threads still work after the test."""
    with grid.executor() as executor:
        yield executor
        assert result_of(executor.submit(pow, 2, 3)) == 8


def result_of(future: Future[Any]) -> Any:
    """The result, with a guard against waiting for ever."""
    return future.result(timeout=GUARD_SECONDS)


def error_of(future: Future[Any]) -> BaseException | None:
    """The exception, with a guard against waiting for ever."""
    return future.exception(timeout=GUARD_SECONDS)


# Whatever they raise is their own call's


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_that_raise_when_pickled(pool: Executor, kind: type[BaseException]) -> None:
    futures = [pool.submit(id, 1), pool.submit(id, CriesWhenPickled(kind)), pool.submit(abs, -1)]
    assert type(error_of(futures[1])) is kind
    assert error_of(futures[0]) is None
    assert result_of(futures[2]) == 1


def test_ctrl_c_while_arguments_are_pickled_is_the_callers(pool: Executor) -> None:
    rings = iter([True])

    class Interrupted:
        def __reduce__(self) -> Any:
            if next(rings, False):  # the signal comes once
                raise KeyboardInterrupt
            return int, ()

    with pytest.raises(KeyboardInterrupt):
        pool.submit(abs, Interrupted())  # type: ignore[arg-type]  # it is pickled as a number


@pytest.mark.parametrize("kind", KINDS)
def test_callables_that_raise_when_pickled(pool: Executor, kind: type[BaseException]) -> None:
    future = pool.submit(CriesWhenPickled(kind))
    assert type(error_of(future)) in (InvalidInput, kind)


def test_callables_that_can_be_neither_hashed_nor_compared(pool: Executor) -> None:
    function = CriesWhenAsked()
    assert [result_of(pool.submit(function, n)) for n in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_results_that_raise_when_loaded(pool: Executor, kind: type[BaseException]) -> None:
    futures = [pool.submit(make, which) for which in (None, kind, None)]
    assert type(error_of(futures[1])) is kind
    assert [result_of(futures[0]), result_of(futures[2])] == [7, 7]


def test_an_exception_whose_own_pickle_cannot_be_loaded_arrives_without_it(pool: Executor) -> None:
    assert type(error_of(pool.submit(throw, ErrorThatCries))) is ErrorThatCries


def test_an_exception_that_cannot_travel_is_told_as_text(pool: Executor) -> None:
    error = error_of(pool.submit(throw, ErrorThatCriesWhenPickled))
    assert isinstance(error, TaskFailed)
    assert error.error.type == "ErrorThatCriesWhenPickled"


@pytest.mark.parametrize(("kind", "args"), [(FrozenError, (3,)), (Touchy, ("no",))])
def test_exceptions_that_take_no_attributes(grid: Grid, pool: Executor, kind: type[Exception], args: Any) -> None:
    error = error_of(pool.submit(throw, kind, *args))
    assert type(error) is kind
    assert isinstance(error.__cause__, TaskFailed)
    with pytest.raises(kind):
        list(grid.map(throw, [kind], *([arg] for arg in args)))


@pytest.mark.parametrize("kind", KINDS)
def test_callbacks_that_raise(pool: Executor, kind: type[BaseException]) -> None:
    future = pool.submit(pow, 2, 2)
    future.add_done_callback(lambda _: cry(kind))
    assert result_of(future) == 4


@pytest.mark.parametrize("kind", [SystemExit, Outcry])
def test_what_is_submitted_and_raises_when_pickled_is_named(grid: Grid, kind: type[BaseException]) -> None:
    with pytest.raises(InvalidEvent, match="event 1 cannot be submitted"):
        grid.submit(abs, [1, CriesWhenPickled(kind)])
    with pytest.raises(InvalidInput, match="cannot be sent to the grid"):
        grid.submit(CriesWhenPickled(kind), [1])
    with pytest.raises(InvalidInput):
        grid.put(CriesWhenPickled(kind), codec="pickle")


# They are what they are


@dataclass(frozen=True)
class Scale:
    """Equal to any other of its name."""

    name: str
    factor: float = field(compare=False)

    def __call__(self, number: float) -> float:
        return self.factor * number

    def times(self, number: float) -> float:
        """The same, as a method."""
        return self.factor * number


@dataclass(frozen=True)
class Constant:
    """``Constant(1) == Constant(1.0) == Constant(True)``."""

    value: object

    def __call__(self) -> object:
        return self.value


def test_equal_callables_are_not_the_same(pool: Executor) -> None:
    scales = [Scale("a", factor) for factor in range(1, 6)]
    futures = [pool.submit(scale, 10) for scale in scales]
    futures += [pool.submit(scale.times, 10) for scale in scales]
    assert [result_of(future) for future in futures] == 2 * [10, 20, 30, 40, 50]
    found = [result_of(future) for future in [pool.submit(Constant(value)) for value in (1, 1.0, True)]]
    assert [type(value) for value in found] == [int, float, bool]


def test_methods_of_one_object_share_a_session(grid: Grid) -> None:
    sent: list[Callable[..., Any]] = []
    send = grid.submit_encoded_calls

    def counting(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        sent.append(function)
        return send(function, *args, **kwargs)

    grid.submit_encoded_calls = counting  # type: ignore[method-assign]
    scale, words = Scale("a", 2), ["a", "b"]
    with grid.executor() as executor:
        for _ in range(100):
            executor.submit(scale.times, 1)
            executor.submit(words.index, "b")
    assert len(sent) < 100


def test_arguments_are_as_they_were_when_they_were_submitted(pool: Executor) -> None:
    buffer, futures = [0], []
    for number in range(100):
        buffer[0] = number
        futures.append(pool.submit(sum, buffer))
    assert [result_of(future) for future in futures] == list(range(100))
