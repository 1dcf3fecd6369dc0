"""Every case that Prefect documents for task runners, side by side with its ThreadPoolTaskRunner.

`make compare-prefect` prints the table.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect import State, allow_failure, flow, get_run_logger, runtime, tags, task, unmapped
from prefect.assets import materialize
from prefect.cache_policies import INPUTS
from prefect.context import FlowRunContext
from prefect.futures import as_completed, wait
from prefect.states import Completed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.utilities.annotations import opaque, quote

from htcgrid_prefect import HTCGridTaskRunner
from tests.e2e.support import eventually
from tests.prefect.api import api
from tests.prefect.conftest import API_URL


@dataclass(frozen=True)
class Point:
    x: int


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task
def listed(*numbers: int, **named: int) -> list[Any]:
    return [*numbers, sorted(named.items())]


@task
def failing(text: str = "no") -> None:
    raise ValueError(text)


@task
def echo(value: Any) -> Any:
    return value


@task
def kind_of(value: Any) -> str:
    return type(value).__name__


@task(retries=2)
def third_time_lucky() -> int:
    if runtime.task_run.run_count < 3:
        raise ValueError("not yet")
    return int(runtime.task_run.run_count)


@task(retries=1, retry_delay_seconds=0.01)
def never_lucky() -> None:
    raise ValueError("never")


@task(timeout_seconds=0.1)
def slow() -> None:
    time.sleep(0.3)


@task(cache_policy=INPUTS, persist_result=True)
def cached(folder: str) -> int:
    with (Path(folder) / "cached").open("a") as file:
        file.write(".")
    return len((Path(folder) / "cached").read_text())


@task(persist_result=True)
def persisted() -> int:
    return 7


@task
async def aadd(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@task(timeout_seconds=0.1)
async def aslow() -> None:
    await asyncio.sleep(5)


@task
def nested(count: int) -> int:
    return sum(add.map(range(count)).result()) + add.submit(1).result()


@task(task_run_name="number-{number}")
def named(number: int) -> str:
    return str(runtime.task_run.name)


@task(tags=["own"])
def tagged() -> list[str]:
    return sorted(runtime.task_run.tags)


@task
def says_completed() -> State[Any]:
    return Completed(message="by hand")


@task
def logging_task() -> None:
    get_run_logger().info("a line")


@task(log_prints=True)
def printing(number: int) -> int:
    print("number", number)
    return 1 // number


class Heard(logging.Handler):
    """What a console would show of task runs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, ...]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "prefect.task_runs":
            text = logging.Formatter().format(record)
            run = str(getattr(record, "task_run_name", "")).rpartition("-")[0]
            raised = ("ZeroDivisionError" in text) + ("return 1 // number" in text)
            self.lines.append((record.levelname, run, text.splitlines()[0], f"traceback: {raised}"))


def _console() -> list[tuple[str, ...]]:
    """In the order of each run; runs are told apart by what they print."""
    heard = Heard()
    logging.getLogger().addHandler(heard)
    try:
        for number in (1, 0):
            printing.map([number])[0].wait()
    finally:
        logging.getLogger().removeHandler(heard)
    return heard.lines


def _ended(future: Any) -> tuple[str, str, str]:
    future.wait()
    result = future.result(raise_on_failure=False) if future.state.is_final() else None
    return future.state.type.value, future.state.name, type(result).__name__


def _raised(call: Callable[[], Any]) -> str:
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:40]}"
    return "nothing"


def _as_completed() -> list[int]:
    return sorted(future.result() for future in as_completed(list(add.map(range(5)))))


def _waited() -> tuple[int, int]:
    done, not_done = wait([*add.map(range(3))], timeout=60)
    return len(done), len(not_done)


def _called_back() -> int:
    called: list[Any] = []
    futures = add.map(range(4))
    for future in futures:
        future.add_done_callback(called.append)
    futures.wait()
    deadline = time.monotonic() + 30
    while len(called) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    return len(called)


def _failed() -> Any:
    return failing.submit()


def _after_not_ready() -> Any:
    not_ready: Any = add.submit(_failed())
    return add.submit(not_ready)


def _after(upstream: list[Any]) -> Any:
    untyped: Any = add
    return untyped.submit(1, wait_for=upstream)


def _one() -> Any:
    return add.submit(1)


def _in_time() -> str:
    return _raised(lambda: echo_slowly.submit().result(timeout=0.01)).split(":")[0]


@task
def echo_slowly() -> None:
    time.sleep(0.2)


def _chain() -> int:
    future: Any = add.submit(0)
    for _ in range(5):
        future = add.submit(future)
    return int(future.result())


def _tagged() -> list[str]:
    with tags("around"):
        return tagged.submit().result()


def _hooked(folder: str) -> str:
    path = Path(folder) / "hooked"

    def hook(task: Any, run: Any, state: Any) -> None:
        path.write_text(state.name)

    _ended(failing.with_options(on_failure=[hook]).submit())
    return path.read_text()


def _cancelled(folder: str) -> list[str]:
    """A flow run that fails while a task of its waits for its input: nothing of it is left open."""
    names: list[str] = []

    @flow
    def breaking() -> None:
        failed = failing.submit()
        dependent: Any = echo.submit(failed)
        dependent.wait()
        names.append(dependent.state.name)
        raise KeyError("stop")

    breaking.with_options(task_runner=FlowRunContext.get().flow.task_runner)(return_state=True)  # type: ignore[union-attr]
    return names


def _materialized(folder: str) -> list[str]:
    """The asset events that the server got."""
    key = f"test://comparison/{Path(folder).name}"

    @materialize(key)
    def table() -> int:
        return 3

    assert table.submit().result() == 3
    wanted = {"resource": {"id": [key]}, "event": {"prefix": ["prefect.asset."]}}
    found = eventually(lambda: api(API_URL, "/events/filter", filter=wanted)["events"], f"events of {key}")
    return [event["event"] for event in found]


CASES: dict[str, Callable[[str], Any]] = {
    "submit": lambda _: add.submit(1, 2).result(),
    "defaults, *args and **kwargs": lambda _: listed.submit(1, 2, c=3).result(),
    "map, in order": lambda _: add.map(range(30)).result(),
    "map with unmapped": lambda _: add.map([1, 2, 3], unmapped(10)).result(),
    "map with a constant": lambda _: add.map([1, 2], b=5).result(),
    "map over a future of a list": lambda _: add.map(echo.submit([1, 2, 3])).result(),
    "map over futures": lambda _: add.map(add.map([1, 2, 3])).result(),
    "map over nothing": lambda _: add.map([]).result(),
    "map without an iterable": lambda _: _raised(lambda: add.map(1)).split(":")[0],
    "map of different lengths": lambda _: _raised(lambda: add.map([1], [1, 2])).split(":")[0],
    "map, return_state": lambda _: [state.name for state in add.map([1, 2], return_state=True)],
    "a chain of futures": lambda _: _chain(),
    "futures inside of collections": lambda _: echo.submit({"a": [add.submit(1)], "b": (add.submit(2),)}).result(),
    "quote": lambda _: kind_of.submit(quote([1])).result(),
    "opaque": lambda _: echo.submit(opaque(echo.submit([1, 2]))).result(),
    "allow_failure": lambda _: kind_of.submit(allow_failure(failing.submit())).result(),
    "wait_for": lambda _: _after([_one(), add.map([1, 2])]).result(),
    "wait_for of a failure": lambda _: _ended(_after([_failed()])),
    "parameter that failed": lambda _: _ended(add.submit(_failed())),
    "after a NotReady": lambda _: _ended(_after_not_ready()),
    "allow_failure in a map": lambda _: kind_of.map(allow_failure(failing.map(["a", "b"]))).result(),
    "exception": lambda _: _raised(lambda: failing.submit("loud").result()),
    "exception of a map": lambda _: _raised(lambda: failing.map(["loud"]).result()),
    "exception returned": lambda _: repr(failing.submit("x").result(raise_on_failure=False)),
    "failed state": lambda _: _ended(failing.submit()),
    "retries": lambda _: third_time_lucky.submit().result(),
    "retries exhausted": lambda _: _ended(never_lucky.submit()),
    "timeout": lambda _: _ended(slow.submit()),
    "timeout, async": lambda _: _ended(aslow.submit()),
    "cache": lambda folder: (cached.submit(folder).result(), _ended(cached.submit(folder)), cached(folder)),
    "persisted result": lambda _: persisted.submit().result(),
    "result None": lambda _: echo.submit(None).result(),
    "result an object": lambda _: echo.submit(Point(3)).result() == Point(3),
    "result an exception": lambda _: _ended(echo.submit(ValueError("as a value"))),
    "result a state": lambda _: _ended(says_completed.submit()),
    "async": lambda _: aadd.map([1, 2], unmapped(3)).result(),
    "nested": lambda _: nested.submit(3).result(),
    "run name": lambda _: named.map([1, 2]).result(),
    "tags": lambda _: _tagged(),
    "console": lambda _: _console(),
    "logs": lambda _: logging_task.submit().result(),
    "hooks": _hooked,
    "as_completed": lambda _: _as_completed(),
    "wait": lambda _: _waited(),
    "done callbacks": lambda _: _called_back(),
    "result(timeout)": lambda _: _in_time(),
    "a flow that fails": _cancelled,
    "assets": _materialized,
}
# What the bare function does without, by design: each is in docs/prefect.md.
NOT_BARE = {
    "retries": "the run's context",
    "cache": "caching",
    "nested": "a runner in the worker",
    "run name": "run names",
    "tags": "the run's context",
    "logs": "the run's logger",
    "hooks": "hooks",
    "assets": "asset events",
    "timeout": "TimedOut, with a TaskFailed in it",
    "timeout, async": "TimedOut, with a TaskFailed in it",
    "result a state": "states as results",
}


@flow
def observe(names: list[str], folder: str) -> dict[str, Any]:
    seen = {}
    for name in names:
        try:
            seen[name] = CASES[name](folder)
        except Exception as error:
            seen[name] = f"the case itself raised {error!r}"
    return seen


def _observed(runner: TaskRunner[Any], names: list[str], folder: Path) -> dict[str, Any]:
    folder.mkdir()
    return observe.with_options(task_runner=runner)(names, str(folder))


@pytest.fixture(scope="module")
def table(shared_grid_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("comparison")
    seen = {
        "threads": _observed(ThreadPoolTaskRunner(), list(CASES), folder / "threads"),
        "prefect": _observed(HTCGridTaskRunner(shared_grid_url), list(CASES), folder / "prefect"),
        "grid": _observed(
            HTCGridTaskRunner(shared_grid_url, engine="grid"),
            [name for name in CASES if name not in NOT_BARE],
            folder / "grid",
        ),
    }
    _print(seen)
    return seen


def _print(seen: dict[str, dict[str, Any]]) -> None:
    print('\n\n| case | with threads | `engine="prefect"` | `engine="grid"` |\n|---|---|---|---|')
    for name, found in seen["threads"].items():
        same = {
            engine: "the same" if seen[engine].get(name) == found else f"{seen[engine].get(name)!r}" for engine in seen
        }
        bare = f"no: {NOT_BARE[name]}" if name in NOT_BARE else same["grid"]
        shown = f"{found!r}" if len(f"{found!r}") <= 60 else f"{found!r}"[:59] + "…"
        print(f"| {name} | `{shown}` | {same['prefect']} | {bare} |")


@pytest.mark.parametrize("name", list(CASES))
def test_as_with_threads(table: dict[str, dict[str, Any]], name: str) -> None:
    assert table["prefect"][name] == table["threads"][name]
    assert "the case itself raised" not in str(table["threads"][name])


@pytest.mark.parametrize("name", [name for name in CASES if name not in NOT_BARE])
def test_the_bare_function_as_with_threads(table: dict[str, dict[str, Any]], name: str) -> None:
    assert table["grid"][name] == table["threads"][name]
