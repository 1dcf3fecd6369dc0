"""``grid.executor()`` keeps the promises of ``concurrent.futures.Executor``."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    Executor,
    Future,
    as_completed,
    wait,
)
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, GridUnavailable, InvalidInput, RetryPolicy, Session, SessionState, TaskFailed, connect
from tests.e2e import handlers
from tests.e2e.support import GUARD_SECONDS, ended, eventually, run_script
from tests.planes import gateway_of


@pytest.fixture
def grid(url: str) -> Iterator[Grid]:
    """A connection."""
    with connect(url) as connected:
        yield connected


@pytest.fixture
def pool(grid: Grid) -> Iterator[Executor]:
    """An executor."""
    with grid.executor() as executor:
        yield executor


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A gate that calls wait at; opened at the end, so that they go."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


class PricingError(Exception):
    """An exception with a constructor of its own."""

    def __init__(self, desk: str, code: int) -> None:
        super().__init__(desk, code)
        self.desk, self.code = desk, code


def fail_with(desk: str) -> None:
    """Raise."""
    raise PricingError(desk, 7)


def keywords(a: int, /, b: int = 2, *rest: int, c: int, **more: int) -> tuple[Any, ...]:
    """All kinds of parameters."""
    return a, b, rest, c, more


def result_of(future: Future[Any]) -> Any:
    """The result, with a guard against waiting for ever."""
    return future.result(timeout=GUARD_SECONDS)


# submit


def test_submit_returns_a_future_with_the_result(pool: Executor) -> None:
    future = pool.submit(pow, 2, 10)
    assert result_of(future) == 1024
    assert future.done()
    assert not future.running()
    assert not future.cancelled()
    assert future.exception() is None
    assert not future.cancel()


def test_all_kinds_of_arguments(pool: Executor) -> None:
    assert result_of(pool.submit(keywords, 1, c=3)) == (1, 2, (), 3, {})
    assert result_of(pool.submit(keywords, 1, 5, 6, 7, c=3, d=4)) == (1, 5, (6, 7), 3, {"d": 4})
    assert result_of(pool.submit(dict, self=1, fn=2)) == {"self": 1, "fn": 2}


def test_all_kinds_of_functions(pool: Executor) -> None:
    offset = 5
    assert result_of(pool.submit(lambda x: x + offset, 1)) == 6
    assert result_of(pool.submit(functools.partial(pow, 2), 3)) == 8
    assert result_of(pool.submit([3, 1, 2].index, 1)) == 1
    assert result_of(pool.submit(str.upper, "a")) == "A"
    unhashable = functools.partial(sorted, [2, 1])
    assert result_of(pool.submit(unhashable)) == [1, 2]


def test_what_is_no_function_is_refused(pool: Executor) -> None:
    with pytest.raises(InvalidInput, match="a int is not callable"):
        pool.submit(7)  # type: ignore[arg-type]  # that is the test


def test_the_exception_is_the_one_that_was_raised(pool: Executor) -> None:
    future = pool.submit(fail_with, "rates")
    error = future.exception(timeout=GUARD_SECONDS)
    assert isinstance(error, PricingError)
    assert (error.desk, error.code) == ("rates", 7)
    with pytest.raises(PricingError) as caught:
        future.result()
    assert caught.value is error
    assert isinstance(error.__cause__, TaskFailed)
    shown = "".join(traceback.format_exception(error))
    assert "in fail_with" in shown  # where it was raised, on the other side
    assert "raise PricingError(desk, 7)" in shown


@pytest.mark.parametrize(
    ("function", "kind", "text"),
    [
        (lambda: 1 // 0, ZeroDivisionError, "integer division or modulo by zero"),
        (lambda: dict[str, int]()["key"], KeyError, "'key'"),
        (lambda: list[int]().pop(), IndexError, "pop from empty list"),
        (lambda: next(iter(())), StopIteration, ""),
    ],
    ids=["ZeroDivisionError", "KeyError", "IndexError", "StopIteration"],
)
def test_builtin_exceptions(pool: Executor, function: Any, kind: type[Exception], text: str) -> None:
    error = pool.submit(function).exception(timeout=GUARD_SECONDS)
    assert type(error) is kind
    assert str(error) == text


def test_an_exception_whose_constructor_takes_other_arguments(pool: Executor) -> None:
    misbehave: Callable[..., Any] = handlers.misbehave
    error = pool.submit(misbehave, {"n": 0, "how": "raise_unreadable"}, None).exception(timeout=GUARD_SECONDS)
    assert (type(error), str(error)) == (handlers.Unreadable, "7: two arguments")


@pytest.mark.parametrize("how", ["raise_unsendable", "exit_hard", "segfault", "return_lock"])
def test_what_cannot_be_sent_back_is_told_as_text(pool: Executor, how: str) -> None:
    misbehave: Callable[..., Any] = handlers.misbehave
    error = pool.submit(misbehave, {"n": 0, "how": how}, None).exception(timeout=GUARD_SECONDS)
    assert isinstance(error, TaskFailed)
    assert error.error.type in {"Unsendable", "WorkerCrashed", "InvalidResult"}
    assert result_of(pool.submit(pow, 2, 2)) == 4


def test_an_argument_that_cannot_be_pickled_fails_its_own_call(pool: Executor) -> None:
    futures = [pool.submit(len, argument) for argument in ("ab", (n for n in range(3)), "abc")]  # type: ignore[arg-type]
    assert result_of(futures[0]) == 2
    assert isinstance(futures[1].exception(timeout=GUARD_SECONDS), TypeError)
    assert result_of(futures[2]) == 3


def test_a_function_that_cannot_be_pickled_fails_its_own_calls(pool: Executor) -> None:
    lock = threading.Lock()
    bad, good = pool.submit(lambda: lock), pool.submit(lambda: 1)
    assert isinstance(bad.exception(timeout=GUARD_SECONDS), InvalidInput)
    assert "cannot be sent to the grid" in str(bad.exception())
    assert result_of(good) == 1


def test_a_result_that_cannot_be_loaded_fails_its_own_call(pool: Executor) -> None:
    futures = [pool.submit(handlers.make, kind) for kind in ("number", "unloadable", "number")]
    assert result_of(futures[0]) == 7
    assert isinstance(futures[1].exception(timeout=GUARD_SECONDS), ValueError)
    assert result_of(futures[2]) == 7


def test_what_a_call_raises_is_final_unless_told_otherwise(grid: Grid, tmp_path: Path) -> None:
    with grid.executor() as once:
        future = once.submit(handlers.fail_times, str(tmp_path / "once"), 1)
        assert isinstance(future.exception(timeout=GUARD_SECONDS), ConnectionError)
    with grid.executor(retry=RetryPolicy(max_attempts=3, backoff_base_seconds=0)) as thrice:
        assert result_of(thrice.submit(handlers.fail_times, str(tmp_path / "thrice"), 2)) == 3


def test_options_are_checked_when_the_executor_is_made(grid: Grid) -> None:
    with pytest.raises(InvalidInput, match="task_timeout"):
        grid.executor(task_timeout=-1)
    with pytest.raises(InvalidInput, match="colour"):
        grid.executor(colour="red")


def test_a_time_limit_for_each_call(grid: Grid) -> None:
    with grid.executor(task_timeout=0.3) as executor:
        slow, quick = executor.submit(time.sleep, 60), executor.submit(pow, 2, 3)
        error = slow.exception(timeout=GUARD_SECONDS)
        assert isinstance(error, TaskFailed)
        assert error.error.type == "TaskTimeout"
        assert result_of(quick) == 8


def test_two_thousand_futures(pool: Executor) -> None:
    futures = [pool.submit(pow, n, 2) for n in range(2000)]
    assert [result_of(future) for future in futures] == [n * n for n in range(2000)]


def test_calls_from_many_threads(pool: Executor) -> None:
    found: dict[int, list[int]] = {}

    def caller(number: int) -> None:
        futures = [pool.submit(pow, number, n) for n in range(20)]
        found[number] = [result_of(future) for future in futures]

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [number**n for n in range(20)] for number in range(8)}


# Futures


def test_result_may_time_out(pool: Executor, gate: Path) -> None:
    future = pool.submit(handlers.pass_first, 1, str(gate))
    with pytest.raises(TimeoutError):
        future.result(timeout=0.01)
    assert not future.done()
    gate.touch()
    assert result_of(future) == 1


def test_callbacks_are_called_once_each_with_the_future(pool: Executor, gate: Path) -> None:
    called: list[Future[int]] = []
    future = pool.submit(handlers.pass_first, 1, str(gate))
    future.add_done_callback(called.append)
    assert called == []
    gate.touch()
    result_of(future)
    eventually(lambda: called, "the callback is called")
    future.add_done_callback(called.append)  # of one that is done: at once
    assert called == [future, future]


def test_a_callback_that_raises_harms_nobody(pool: Executor) -> None:
    called: list[Any] = []
    future = pool.submit(pow, 2, 2)
    future.add_done_callback(lambda _: 1 // 0)
    future.add_done_callback(called.append)
    assert result_of(future) == 4
    eventually(lambda: called, "the other callback is called")
    assert result_of(pool.submit(pow, 2, 3)) == 8


def test_a_callback_may_submit(pool: Executor) -> None:
    second: list[Future[int]] = []
    pool.submit(pow, 2, 2).add_done_callback(lambda first: second.append(pool.submit(pow, first.result(), 2)))
    assert result_of(eventually(lambda: second, "the second call is made")[0]) == 16


def test_a_cancelled_call(pool: Executor, gate: Path) -> None:
    called: list[Any] = []
    future = pool.submit(handlers.pass_first, 1, str(gate))
    future.add_done_callback(called.append)
    assert future.cancel()
    assert future.cancel()
    assert future.cancelled()
    assert future.done()
    assert called == [future]
    with pytest.raises(CancelledError):
        future.result()
    with pytest.raises(CancelledError):
        future.exception()


def test_cancelling_every_call_kills_those_that_run(grid: Grid, tmp_path: Path) -> None:
    with grid.executor() as executor:
        known = {session.id for session in grid.sessions()}
        noted = tmp_path / "noted"
        sleep: Callable[..., int] = handlers.sleep
        futures = [executor.submit(sleep, {"seconds": 600, "file": str(noted)}, None) for _ in range(2)]
        eventually(noted.exists, "a call runs")
        for future in futures:
            assert future.cancel()
        sessions = [session for session in grid.sessions() if session.id not in known]
        for session in sessions:
            assert session.wait(timeout=GUARD_SECONDS).state == "CANCELLED"
        assert result_of(executor.submit(pow, 2, 2)) == 4


def test_wait_for_the_first(pool: Executor, gate: Path) -> None:
    slow, quick = pool.submit(handlers.pass_first, 1, str(gate)), pool.submit(pow, 2, 2)
    done, not_done = wait([slow, quick], timeout=GUARD_SECONDS, return_when=FIRST_COMPLETED)
    assert (done, not_done) == ({quick}, {slow})
    done, not_done = wait([slow, quick], timeout=0.01)
    assert (done, not_done) == ({quick}, {slow})
    gate.touch()
    done, not_done = wait([slow, quick], timeout=GUARD_SECONDS, return_when=ALL_COMPLETED)
    assert (done, not_done) == ({slow, quick}, set())


def test_wait_for_the_first_exception(pool: Executor, gate: Path) -> None:
    slow: Future[Any] = pool.submit(handlers.pass_first, 1, str(gate))
    failing: Future[Any] = pool.submit(fail_with, "fx")
    done, not_done = wait([slow, failing], timeout=GUARD_SECONDS, return_when=FIRST_EXCEPTION)
    assert failing in done
    assert not_done == {slow}


def test_wait_and_as_completed_know_cancelled_futures(grid: Grid, pool: Executor, gate: Path) -> None:
    """Cancelled at once, after it was sent, and while somebody waits."""
    known = {session.id for session in grid.sessions()}
    early, sent, late = (pool.submit(handlers.pass_first, 1, str(gate)) for _ in range(3))
    early.cancel()
    eventually(lambda: {session.id for session in grid.sessions()} - known, "the calls are sent")
    sent.cancel()
    threading.Timer(0.2, late.cancel).start()
    done, not_done = wait([early, sent, late], timeout=GUARD_SECONDS)
    assert (done, not_done) == ({early, sent, late}, set())
    assert set(as_completed([early, sent, late], timeout=GUARD_SECONDS)) == {early, sent, late}


def test_as_completed_yields_in_order_of_completion(pool: Executor, tmp_path: Path) -> None:
    gates = [str(tmp_path / str(n)) for n in range(2)]
    first, second = (pool.submit(handlers.pass_first, 1, gate) for gate in gates)
    done = as_completed([first, second], timeout=GUARD_SECONDS)
    Path(gates[1]).touch()
    assert next(done) is second
    Path(gates[0]).touch()
    assert next(done) is first


def test_as_completed_may_time_out(pool: Executor, gate: Path) -> None:
    slow, quick = pool.submit(handlers.pass_first, 1, str(gate)), pool.submit(pow, 2, 2)
    result_of(quick)
    seen: list[Future[int]] = []
    with pytest.raises(TimeoutError):
        seen.extend(as_completed([slow, quick], timeout=0.05))
    assert slow not in seen


# map


def test_map_is_ordered_and_stops_at_the_shortest(pool: Executor) -> None:
    assert list(pool.map(pow, range(300), [2] * 1000)) == [n * n for n in range(300)]
    assert list(pool.map(pow, [2, 3], [4, 5], chunksize=10)) == [16, 243]
    assert list(pool.map(abs, [])) == []


def test_map_yields_what_is_there_before_it_raises(pool: Executor) -> None:
    results = pool.map(divmod, [5, 5, 5, 5], [2, 3, 0, 5])
    assert next(results) == (2, 1)
    assert next(results) == (1, 2)
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_may_time_out(pool: Executor, gate: Path) -> None:
    results = pool.map(handlers.pass_first, range(3), [str(gate)] * 3, timeout=1)
    assert next(results) == 0
    with pytest.raises(TimeoutError):
        list(results)


def test_map_refuses_a_chunksize_below_one(pool: Executor) -> None:
    with pytest.raises(ValueError, match="chunksize"):
        pool.map(abs, [1], chunksize=0)


def test_the_time_of_a_map_begins_with_the_call(pool: Executor, gate: Path) -> None:
    results = pool.map(handlers.pass_first, [1], [str(gate)], timeout=-1)
    with pytest.raises(TimeoutError):
        next(results)


def test_who_asks_for_its_workers_is_told_the_slots(pool: Any) -> None:
    assert result_of(pool.submit(pow, 2, 2)) == 4
    assert pool._max_workers == 2


# shutdown


def test_the_end_of_the_block_waits_for_maps_that_nobody_reads(grid: Grid) -> None:
    with grid.executor() as executor:
        executor.map(handlers.slow_double, range(10))
    assert grid.sessions(limit=1)[0].progress().state is SessionState.COMPLETED


def test_shutdown_may_cancel_maps(grid: Grid, gate: Path) -> None:
    executor = grid.executor()
    executor.map(handlers.pass_first, [1], [str(gate)])
    executor.shutdown(wait=True, cancel_futures=True)
    assert grid.sessions(limit=1)[0].progress().state is SessionState.CANCELLED


def test_the_end_of_the_block_waits_for_every_call(grid: Grid) -> None:
    with grid.executor() as executor:
        futures = [executor.submit(handlers.slow_double, n) for n in range(20)]
    assert all(future.done() for future in futures)
    assert [future.result() for future in futures] == [2 * n for n in range(20)]


def test_after_shutdown_no_call_is_taken(grid: Grid) -> None:
    executor = grid.executor()
    future = executor.submit(pow, 2, 2)
    executor.shutdown()
    assert future.done()
    executor.shutdown()  # a second time does nothing
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(pow, 2, 2)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.map(abs, [1])


def test_shutdown_of_one_that_was_never_used(grid: Grid) -> None:
    grid.executor().shutdown()
    with grid.executor():
        pass


def test_shutdown_cancels_also_what_is_just_being_sent(grid: Grid, gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sending, go_on = threading.Event(), threading.Event()
    submit_calls = grid.submit_encoded_calls

    def slow_submit(*call: Any, **options: Any) -> Session:
        sending.set()
        assert go_on.wait(GUARD_SECONDS)
        return submit_calls(*call, **options)

    monkeypatch.setattr(grid, "submit_encoded_calls", slow_submit)
    executor = grid.executor()
    future = executor.submit(handlers.pass_first, 1, str(gate))
    assert sending.wait(GUARD_SECONDS)
    executor.shutdown(wait=False, cancel_futures=True)
    assert future.cancelled()
    go_on.set()
    executor.shutdown(wait=True)
    assert ended(grid.sessions(limit=1)[0]).state is SessionState.CANCELLED


def test_agents_that_cannot_be_started_any_more_fail_what_waits(
    grid: Grid, gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = grid.executor()
    future = executor.submit(handlers.pass_first, 1, str(gate))
    eventually(lambda: executor._calls.batches, "it is sent, so that only its watcher knows of it")

    def cannot() -> None:
        raise GridUnavailable("no agent can be started")

    monkeypatch.setattr(gateway_of(grid).deployment, "wake", cannot)
    with pytest.raises(GridUnavailable, match="no agent can be started"):
        result_of(future)
    monkeypatch.undo()
    assert result_of(executor.submit(len, "it goes on")) == 10
    executor.shutdown()


def test_shutdown_without_waiting_still_finishes(grid: Grid, gate: Path) -> None:
    executor = grid.executor()
    future = executor.submit(handlers.pass_first, 1, str(gate))
    executor.shutdown(wait=False)
    assert not future.done()
    gate.touch()
    assert result_of(future) == 1


def test_shutdown_may_cancel_what_is_not_done(grid: Grid, gate: Path) -> None:
    executor = grid.executor()
    done = executor.submit(pow, 2, 2)
    result_of(done)
    futures = [executor.submit(handlers.pass_first, 1, str(gate)) for _ in range(50)]
    executor.shutdown(wait=True, cancel_futures=True)
    assert done.result() == 4
    assert all(future.cancelled() for future in futures)


def test_many_executors_at_once(grid: Grid) -> None:
    executors = [grid.executor() for _ in range(5)]
    futures = [executor.submit(pow, n, 2) for n, executor in enumerate(executors)]
    assert [result_of(future) for future in futures] == [0, 1, 4, 9, 16]
    for executor in executors:
        executor.shutdown()


# Where it is used


def test_asyncio(pool: Executor, gate: Path) -> None:
    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        results = await asyncio.gather(*(loop.run_in_executor(pool, pow, n, 2) for n in range(50)))
        stuck = loop.run_in_executor(pool, handlers.pass_first, 1, str(gate))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stuck, timeout=0.1)
        with pytest.raises(PricingError):
            await loop.run_in_executor(pool, fail_with, "rates")
        return results

    assert asyncio.run(main()) == [n * n for n in range(50)]


SCRIPT = """
import sys
from dataclasses import dataclass
from htcgrid_core import connect
from tests.planes import gateway_of

class MainError(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)

@dataclass
class Trade:
    n: int

FACTOR = 3

def price(trade):
    return Trade(helper(trade.n))

def helper(n):
    return FACTOR * n

def fail():
    raise MainError(1, 2)

if __name__ == "__main__":
    grid = connect(sys.argv[1])
    pool = grid.executor()
    trades = [pool.submit(price, Trade(n)) for n in range(5)]
    assert [t.result() for t in trades] == [Trade(0), Trade(3), Trade(6), Trade(9), Trade(12)]
    assert isinstance(trades[0].result(), Trade)
    try:
        pool.submit(fail).result()
    except MainError as error:
        assert error.args == (1, 2)
    else:
        raise SystemExit("MainError was not raised")
    late = pool.submit(price, Trade(14))
    late.add_done_callback(lambda future: print("late", future.result(), flush=True))
    print("end of script", flush=True)
"""


def test_functions_of_the_main_script_and_an_exit_without_shutdown(url: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = run_script(script, url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["end of script", "late Trade(n=42)"]
    assert done.stderr == ""
