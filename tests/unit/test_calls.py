"""Calls in threads: each bulkhead by itself, results in the loop's own thread."""

from __future__ import annotations

import threading

import pytest

from htcgrid_core.agent.loop.calls import CLAIM, COMMIT, HEARTBEAT, LARGE_COMMIT, InlineButLarge, Result, ThreadedCalls

WAIT_SECONDS = 20.0


class Loop:
    """An agent's loop, as far as calls know it."""

    def __init__(self) -> None:
        self.rung = threading.Semaphore(0)
        self.calls = ThreadedCalls(self.rung.release)

    def wait_and_collect(self) -> None:
        assert self.rung.acquire(timeout=WAIT_SECONDS)
        self.calls.collect()


def test_results_arrive_in_the_loop() -> None:
    loop, threads = Loop(), list[threading.Thread]()

    def done(result: Result[threading.Thread]) -> None:
        threads.extend([result(), threading.current_thread()])

    loop.calls.make(CLAIM, threading.current_thread, done)
    assert loop.calls.room(CLAIM) == CLAIM.depth - 1
    loop.wait_and_collect()
    assert threads[0] is not threading.current_thread()
    assert threads[1] is threading.current_thread()
    assert loop.calls.room(CLAIM) == CLAIM.depth
    loop.calls.close()


def test_what_a_call_raises_is_raised_where_its_result_is_asked_for() -> None:
    loop = Loop()

    def call() -> None:
        raise LookupError("no such row")

    def done(result: Result[None]) -> None:
        with pytest.raises(LookupError):
            result()

    loop.calls.make(COMMIT, call, done)
    loop.wait_and_collect()
    loop.calls.close()


def test_a_lane_that_is_full_holds_up_no_other() -> None:
    loop, go_on, beaten = Loop(), threading.Event(), list[bool]()
    for _ in range(COMMIT.depth):
        loop.calls.make(COMMIT, lambda: go_on.wait(WAIT_SECONDS), lambda result: result())
    assert loop.calls.room(COMMIT) == 0
    loop.calls.make(HEARTBEAT, lambda: True, lambda result: beaten.append(result()))
    loop.wait_and_collect()
    assert beaten == [True]
    go_on.set()
    for _ in range(COMMIT.depth):
        loop.wait_and_collect()
    assert loop.calls.room(COMMIT) == COMMIT.depth
    loop.calls.close()


def test_only_what_writes_much_is_beside_the_loop() -> None:
    """And its result is told in the loop, as that of any other."""
    rung, ran = threading.Semaphore(0), list[threading.Thread]()
    calls = InlineButLarge(rung.release)
    for bulkhead in (CLAIM, COMMIT, HEARTBEAT):
        calls.make(bulkhead, threading.current_thread, lambda result: ran.append(result()))
        assert calls.room(bulkhead) == bulkhead.depth
    assert ran == [threading.current_thread()] * 3
    calls.make(
        LARGE_COMMIT, threading.current_thread, lambda result: ran.extend([result(), threading.current_thread()])
    )
    assert calls.room(LARGE_COMMIT) == LARGE_COMMIT.depth - 1
    assert rung.acquire(timeout=WAIT_SECONDS)
    calls.collect()
    assert ran[-1] is threading.current_thread()
    assert ran[-2] is not threading.current_thread()
    calls.close()
