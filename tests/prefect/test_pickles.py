"""Sessions, results and blocks outlive an upgrade, and workers may run the release before: pickles suit both."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from prefect import flow, task, unmapped

from htcgrid_core import TaskError, TaskFailed
from htcgrid_prefect import HTCGrid, HTCGridTaskRunner
from tests.e2e.support import directory_of
from tests.pickles import samples
from tests.pickles.release_before import names, names_in, names_pickled_by, pickles_of

WRITTEN = pickles_of("prefect")
# What workers import of ours before they have Prefect's settings.
BEFORE_PREFECT = ("worker", "worker.calls", "engine", "recorder", "shipping", "shared.header", "shared.report")


@pytest.fixture(scope="module")
def written_now() -> dict[str, Any]:
    return samples.prefect()


@pytest.mark.parametrize("name", WRITTEN)
def test_what_the_release_before_has_pickled_is_loaded(name: str, written_now: dict[str, Any]) -> None:
    loaded, expected = pickle.loads(WRITTEN[name]), written_now[name]
    assert type(loaded) is type(expected)
    if "a call" in name:
        assert vars(loaded).keys() == vars(expected).keys()
    elif isinstance(expected, Exception):
        assert str(loaded) == str(expected)
    else:
        assert loaded == expected


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_pickled_names_only_what_the_release_before_has(name: str, written_now: dict[str, Any]) -> None:
    """Its workers and flows load it: a class that moves says the old path, or its public one, as its module."""
    for dumps in (pickle.dumps, cloudpickle.dumps):
        found = names_in(dumps(written_now[name], protocol=5))
        assert found, "it is ours, and so it has a name of ours in it"
        assert {each for each in found if each.startswith("htcgrid_")} <= names()
        assert not {each for each in found if each.startswith("cloudpickle")}, "it is sent by value"


@pytest.mark.parametrize(
    ("home", "name", "named"),
    [
        ("worker.calls", "BareCall", "htcgrid_prefect.worker:BareCall"),
        ("worker.calls", "EngineCall", "htcgrid_prefect.worker:EngineCall"),
        ("worker.calls", "WorkerSetupFailed", "htcgrid_prefect.worker:WorkerSetupFailed"),
        ("shared.header", "Header", "htcgrid_prefect.engine:Header"),
        ("shared.header", "flow_function", "htcgrid_prefect.shipping:_not_here"),
        ("shared.report", "Report", "htcgrid_prefect.recorder:Report"),
        ("flow.blocks", "HTCGrid", "htcgrid_prefect:HTCGrid"),
        ("flow.futures", "HTCGridFuture", "htcgrid_prefect:HTCGridFuture"),
        ("flow.sessions", "run_session", "htcgrid_prefect:run_session"),
        ("flow.sessions", "arun_session", "htcgrid_prefect:arun_session"),
        ("flow.task_runner", "HTCGridTaskRunner", "htcgrid_prefect:HTCGridTaskRunner"),
    ],
)
def test_a_class_that_says_another_module_is_never_sent_by_value(home: str, name: str, named: str) -> None:
    assert names_pickled_by(f"htcgrid_prefect.{home}", name) == {named}


@task
def inner(number: int) -> int:
    return number


@task
def outer(number: int, block: HTCGrid) -> int:
    if number == 2:
        raise TaskFailed("session", number, TaskError("ValueError", "no good"))
    if number == 3:
        raise SystemExit(f"no need of {block.pool}")
    return sum(inner.map(range(number + 1)).result())


@pytest.mark.parametrize("engine", ["prefect", "grid"])
def test_whatever_a_flow_run_stores_on_a_grid_names_only_what_the_release_before_has(
    engine: Any, grid_url: str
) -> None:
    nested: Any = "grid" if engine == "prefect" else "local"

    @flow(task_runner=HTCGridTaskRunner(grid_url, engine=engine, nested=nested))
    def running(block: HTCGrid) -> list[Any]:
        numbers = (1, 2, 3) if engine == "prefect" else (2, 3)  # one waits for others, and leaves a slot for them
        return [future.state.type for future in _waited(outer.map(numbers, unmapped(block)))]

    running(HTCGrid(url=grid_url), return_state=True)
    stored = b"".join(path.read_bytes() for path in directory_of(grid_url).root.rglob("*") if path.is_file())
    known = {part for name in names() for part in (name.partition(":")[0], name.replace(":", "."))}  # as in tracebacks
    found = {name.decode() for name in re.findall(rb"htcgrid_(?:core|prefect)(?:\.\w+)*", stored)}
    assert {"htcgrid_prefect.worker", "htcgrid_prefect", "htcgrid_core.domain.errors"} <= found
    if engine == "prefect":
        assert {"htcgrid_prefect.engine", "htcgrid_prefect.recorder", "htcgrid_prefect.shipping"} <= found
    # Parts of transactions are written for flows that say they know them: a worker's report names them, and no header.
    assert found <= {*known, "htcgrid_core", "htcgrid_prefect", "htcgrid_prefect.shared.transaction"}
    assert b"Surrounding" not in stored


def _waited(futures: Any) -> Any:
    futures.wait()
    return futures


def test_what_workers_load_before_prefects_settings_does_not_import_prefect() -> None:
    """Settings are read when Prefect is first imported: later ones would have no effect."""
    modules = ", ".join(f"htcgrid_prefect.{name}" for name in BEFORE_PREFECT)
    script = f"import sys, {modules}; print('prefect' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_a_block_may_be_extended() -> None:
    """Its annotations are found although its class says another module."""

    class Desk(HTCGrid):
        desk: str = "rates"

    assert Desk(url="local://", priority="high").desk == "rates"
    with pytest.raises(ValueError, match="priority"):
        Desk.model_validate({"priority": "urgent"})


def test_module_paths_that_users_hold_are_still_there(tmp_path: Path) -> None:
    import htcgrid_prefect as public
    from htcgrid_prefect import arun_session, blocks, futures, run_session, sessions, task_runner

    assert (blocks.HTCGrid, futures.HTCGridFuture) == (public.HTCGrid, public.HTCGridFuture)
    assert task_runner.HTCGridTaskRunner is public.HTCGridTaskRunner
    assert (sessions.run_session, sessions.arun_session) == (run_session, arun_session)
