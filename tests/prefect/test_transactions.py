"""Transactions around tasks of the grid: committed and rolled back as with threads."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.cache_policies import INPUTS
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.transactions import CommitMode, IsolationLevel, atransaction, get_transaction, transaction

from htcgrid_core import InvalidInput
from htcgrid_prefect import HTCGridTaskRunner
from tests.prefect.support import states, told

marks: list[str] = []  # of this process: hooks run here


@pytest.fixture(autouse=True)
def no_marks() -> None:
    """What each test begins with."""
    marks.clear()


def runners(url: str) -> list[Any]:
    """Prefect's own, and the grid's."""
    return [ThreadPoolTaskRunner(), HTCGridTaskRunner(url)]


def mark(what: str, txn: Any) -> None:
    """What a hook was called with."""
    marks.append(f"{what} {txn.get('number', 'nothing')} {txn.get('around', 'nothing')}")


@task
def write(number: int) -> int:
    txn = get_transaction()
    assert txn is not None
    txn.set("number", (number, txn.get("around", None)))
    return number


@write.on_rollback
def undo(txn: Any) -> None:
    mark("undo", txn)


@write.on_commit
def done(txn: Any) -> None:
    mark("done", txn)


@task
async def write_later(number: int) -> int:
    await asyncio.sleep(0)
    return number


write_later.on_rollback(lambda txn: mark("undo async", txn))
write_later.on_commit(lambda txn: mark("done async", txn))


@task
def fails() -> None:
    raise ValueError("no")


@task
def writes_inside(number: int) -> int:
    with transaction() as inner:
        inner.set("number", "inner")
        return write(number)


def commits() -> None:
    with transaction() as txn:
        txn.set("around", "kept")
        write.submit(1).result()
        write.map([2, 3]).result()


def raises_after() -> None:
    with transaction() as txn:
        txn.set("around", "kept")
        write.submit(1).result()
        write.submit(2).result()
        raise ValueError("after the writes")


def a_task_fails() -> None:
    with transaction():
        write.submit(1).result()
        fails.submit().wait()


def off() -> None:
    with transaction(commit_mode=CommitMode.OFF):
        write.submit(1).result()


def eager() -> None:
    with transaction(commit_mode=CommitMode.EAGER):
        write.submit(1).result()
        assert marks == ["done (1, None) nothing"]
        raise ValueError("too late")


def of_async_tasks() -> None:
    with transaction():
        later: Any = write_later.submit(1)
        later.result()
        raise ValueError("after the write")


def one_inside_of_another() -> None:
    with transaction() as outer:
        outer.set("around", "outer")
        write.submit(1).result()
        with transaction():
            write.submit(2).result()
            raise ValueError("inside")


def inside_of_a_task() -> None:
    with transaction():
        writes_inside.submit(4).result()
        raise ValueError("after the write")


SYNCHRONOUS = [
    commits, raises_after, a_task_fails, off, eager, of_async_tasks, one_inside_of_another, inside_of_a_task,
]  # fmt: skip


@pytest.mark.parametrize("function", SYNCHRONOUS)
def test_as_with_threads(shared_grid_url: str, function: Any) -> None:
    """Which hooks are called, in which order, with which values; and how the flow run ends.

    Tasks of a map end in whatever order, with threads and on the grid, and so do their hooks.
    """
    seen = []
    for runner in runners(shared_grid_url):
        marks.clear()
        run: Any = flow(function, task_runner=runner)
        state = run(return_state=True)
        seen.append((state.name, state.message, sorted(marks) if function is commits else list(marks)))
    assert seen[1] == seen[0]
    assert marks


def test_an_asynchronous_transaction(shared_grid_url: str) -> None:
    @flow
    async def asynchronous() -> None:
        async with atransaction():
            write.submit(1).result()
            later: Any = write_later.submit(2)
            later.result()
            raise ValueError("after the writes")

    seen = []
    for runner in runners(shared_grid_url):
        marks.clear()
        with pytest.raises(ValueError, match="after the writes"):
            asyncio.run(asynchronous.with_options(task_runner=runner)())
        seen.append(list(marks))
    assert seen[1] == seen[0]
    assert len(marks) == 2


def test_what_is_rolled_back_is_not_cached(shared_grid_url: str, tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    @task(cache_policy=INPUTS, persist_result=True)
    def counted(place: str, number: int) -> int:
        with open(place, "a") as file:
            file.write("x")
        return number

    @flow(task_runner=HTCGridTaskRunner(shared_grid_url))
    def book(raises: bool) -> None:
        with transaction():
            counted.submit(str(runs), 1).result()
            if raises:
                raise ValueError("after the write")

    for raises, expected in ((True, 1), (False, 2), (False, 2)):
        book(raises, return_state=True)
        assert len(runs.read_text()) == expected


def test_the_server_is_told(shared_grid_url: str) -> None:
    from prefect import runtime

    ids: list[str] = []

    @flow(task_runner=HTCGridTaskRunner(shared_grid_url))
    def book() -> None:
        ids.append(str(runtime.flow_run.id))
        with transaction():
            write.submit(1).result()
            raise ValueError("after the write")

    book(return_state=True)
    (run,) = told(ids[0], {"RolledBack": 1})
    assert [state["name"] for state in states(run)][-1] == "RolledBack"


@pytest.mark.parametrize(
    ("options", "made", "said"),
    [
        ({"engine": "grid"}, {}, 'inside of a transaction, and with engine="grid"'),
        ({}, {"isolation_level": IsolationLevel.SERIALIZABLE}, "inside of a transaction, and SERIALIZABLE"),
    ],
)
def test_what_could_not_be_rolled_back_is_refused(shared_grid_url: str, options: Any, made: Any, said: str) -> None:
    @flow(task_runner=HTCGridTaskRunner(shared_grid_url, **options))
    def book() -> None:
        with transaction(**made):
            write.submit(1)

    with pytest.raises(InvalidInput, match=said):
        book()
