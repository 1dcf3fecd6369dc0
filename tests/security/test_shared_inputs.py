"""Shared inputs whose file changes after the agent has verified it: no worker takes them for what they were."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import RetryPolicy, Session, connect
from htcgrid_core.codecs.shared import MARK
from htcgrid_core.domain.errors import InvalidInput
from tests.e2e.support import ended, fresh_grid
from tests.planes import plane_of
from tests.runtimes.conftest import FUNCTIONS

ONCE = RetryPolicy(max_attempts=1)


@pytest.mark.parametrize("kind", ["json", "pickle", "bytes"])
def test_a_native_worker_looks_again(tmp_path: Path, kind: str) -> None:
    with fresh_grid(tmp_path / "grid", slots=1) as url, connect(url) as grid:
        value: Any = b"bytes" if kind == "bytes" else {"rate": 0.03}
        shared = grid.put(value, codec="pickle" if kind == "pickle" else None)

        def submitted(memory_mb: int) -> Session:  # of a worker of its own
            session = grid.submit(lambda event: event == value, [shared], memory_mb=memory_mb, retry=ONCE)
            ended(session)
            return session

        assert list(submitted(512).results()) == [True]
        path = plane_of(grid).blobs.path(f"shared/{shared.digest}")
        changed = bytearray(path.read_bytes())
        changed[-1] ^= 1
        path.unlink()
        path.write_bytes(changed)
        task = next(submitted(640).tasks())
        assert task.error is not None
        assert (task.error.type, shared.digest in task.error.message) == ("CorruptPayload", True)


def test_what_was_shared_as_bytes_is_not_loaded_as_a_pickle(tmp_path: Path) -> None:
    """An event that is data names it by hand, as a pickle: nobody has asked for a signature, so nobody loads it."""
    with fresh_grid(tmp_path / "grid", slots=1) as url, connect(url) as grid:
        grid.deploy("app", FUNCTIONS / "shell", runtime="provided.al2023")
        shared = grid.put(pickle.dumps({"rate": 0.03}))
        by_hand = {MARK: shared.digest, "codec": "pickle"}
        unknown = {MARK: "0" * 64, "codec": "json"}
        for function in (f"{__name__}.echo", "app"):
            session = grid.submit(function, [{"good": shared, "bad": by_hand}], retry=ONCE)
            assert ended(session).failed == 1
            (task,) = session.tasks()
            assert task.error is not None
            assert "none of those that it was submitted with" in task.error.message
            with pytest.raises(InvalidInput, match="is not in this grid"):
                grid.submit(function, [{"good": shared, "bad": unknown}])


def echo(event: Any, context: Any) -> Any:
    """What it was given."""
    return repr(event)


def test_the_runtime_api_looks_again(tmp_path: Path) -> None:
    with fresh_grid(tmp_path / "grid", slots=1) as url, connect(url) as grid:
        grid.deploy("app", FUNCTIONS / "shell", runtime="provided.al2023")
        shared, other = grid.put({"rate": 0.03}), grid.put({"pickled": 1}, codec="pickle")
        good = grid.submit("app", [{"curve": shared}])
        ended(good)
        assert list(good.results()) == [{"curve": {"rate": 0.03}}]
        path = plane_of(grid).blobs.path(f"shared/{shared.digest}")
        path.unlink()
        path.write_bytes(b'{"rate":0.04}')
        bad = grid.submit("app", [{"curve": shared}, {"n": 1}], retry=ONCE)
        ended(bad)
        assert [task.error.type for task in bad.tasks() if task.error] == ["CorruptPayload"]
        unreadable = grid.submit("app", [{"curve": other}], retry=ONCE)
        ended(unreadable)
        assert [task.error.type for task in unreadable.tasks() if task.error] == ["InvalidEvent"]
