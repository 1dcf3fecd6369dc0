"""What the release before left behind, unpacked where a test can go on with it."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import sqlite3
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, SessionFailed, TaskFailed
from tests.aws.grids import CloudUnderTest

HERE = Path(__file__).parent
BOOK = "old_book"  # the module of the handlers
MADE_IN = {"python": "/opt/grid/venv/bin/python", "book": "/opt/grid/book", "cwd": "/opt/grid/run"}
STATES = {
    "completed": "COMPLETED", "tolerated": "COMPLETED", "deployed": "COMPLETED", "large": "COMPLETED",
    "failed": "FAILED", "strict": "FAILED", "resubmitted": "FAILED", "pickled": "FAILED",
    "cancelled": "CANCELLED", "running": "RUNNING",
}  # fmt: skip
RUNNING_TASKS = 80
A_DAY = 86400.0


@dataclass(frozen=True)
class LeftBehind:
    """A grid that the release before made.

    Attributes:
        sessions: ids, by what became of them.
        folder: the working directory of its handlers.
    """

    url: str
    sessions: dict[str, str]
    folder: Path


def unpack_local(folder: Path) -> LeftBehind:
    """The embedded grid, as it was, but for what depends on when and where it is."""
    root, work = folder / "grid", folder / "work"
    work.mkdir(parents=True)
    with tarfile.open(HERE / "local.tar.gz") as tar:
        tar.extractall(root, filter="data")
    for path in root.rglob("*"):
        path.touch()  # a blob that nobody used for a month is deleted
    shutil.copy(HERE / f"{BOOK}.py", work)
    told = json.loads((root / "fixture.json").read_text())
    with closing(sqlite3.connect(root / "grid.db")) as db:
        # A session runs with the interpreter and in the folder of whoever submitted it: that is this test.
        for made_in, here in zip(MADE_IN.values(), (sys.executable, str(work), str(work)), strict=True):
            db.execute("UPDATE sessions SET spec = replace(spec, ?, ?)", (json.dumps(made_in), json.dumps(here)))
        # It was made some time ago, or, by this machine's clock, will be: nothing has expired, and its agents are dead.
        db.execute("UPDATE sessions SET expires_at = ? WHERE expires_at IS NOT NULL", (time.time() + A_DAY,))
        db.execute("UPDATE bundles SET lease_until = 0 WHERE lease_until IS NOT NULL")
        db.execute("UPDATE bundles SET not_before = 0")
        db.commit()
    return LeftBehind(f"local://{root}?slots=2&idle=20", told["sessions"], work)


def unpack_aws(cloud: CloudUnderTest, folder: Path) -> LeftBehind:
    """The grid's items, objects and secret, in the table, bucket and parameter of a grid that was just made."""
    told = dump()
    client, account = cloud.account.client, cloud.account
    parameter = json.loads(client("ssm").get_parameter(Name="/htcgrid/book")["Parameter"]["Value"])
    client("ssm").put_parameter(Name=parameter["key"], Value=told["key"], Type="SecureString", Overwrite=True)
    s3, dynamodb = account.s3(), account.dynamodb()
    for key, data in told["objects"].items():
        s3.put_object(Bucket=parameter["bucket"], Key=key, Body=base64.b64decode(data))
    later = {"N": str(int(time.time() + A_DAY))}
    for item in told["items"]:
        # See unpack_local; DynamoDB deletes by its own clock.
        item |= {name: later for name in ("exp", "ttl") if name in item}
        item |= {name: {"N": "0"} for name in ("u", "nb") if name in item}
        dynamodb.put_item(TableName=parameter["table"], Item=item)
    shutil.copy(HERE / f"{BOOK}.py", folder)
    return LeftBehind(cloud.url, told["sessions"], folder)


def dump() -> dict[str, Any]:
    """What was in AWS, with binary attributes as bytes."""
    told: dict[str, Any] = json.loads(gzip.decompress((HERE / "aws.json.gz").read_bytes()))
    for item in told["items"]:
        for attribute in item.values():
            if "B" in attribute:
                attribute["B"] = base64.b64decode(attribute["B"])
    return told


def assert_all_can_be_read(grid: Grid, left: LeftBehind, quote: Callable[[str], object]) -> None:
    """States, results, failures, tasks, histories and functions."""
    sessions = {what: grid.session(session_id) for what, session_id in left.sessions.items()}
    assert {what: session.progress().state for what, session in sessions.items()} == STATES
    assert {session.id for session in grid.sessions()} == set(left.sessions.values())
    for session in sessions.values():
        progress, history = session.progress(), session.history()
        assert history[-1].after == progress.state
        assert progress.total == progress.completed + progress.failed + progress.cancelled + progress.pending
        assert len(list(session.tasks())) == progress.total

    completed = sessions["completed"]
    assert (completed.name, completed.labels, completed.spec.priority) == ("book", {"desk": "rates"}, "high")
    assert list(completed.results()) == [{"value": 500.0 * n} for n in range(5)]
    assert completed.task(3).stdout == "pricing 3000\n"
    assert list(sessions["deployed"].results()) == [[2, "1"], [4, "1"], [6, "1"]]
    (large, small) = sessions["large"].results()
    assert (large, small) == ("x" * (len(large) // 2) + "y" * (len(large) // 2), "zy")

    _assert_failures(grid, left)
    first, refused, last = sessions["pickled"].results(errors="return")
    assert (first, last) == (quote("ACME"), quote("Börse"))
    assert isinstance(refused, TaskFailed)
    assert type(refused.error.exception).__name__ == "Refused"
    assert refused.error.exception.code == 7  # type: ignore[union-attr]
    assert sessions["cancelled"].progress().reason == "no longer needed"
    assert [version.name for version in grid.functions()] == ["scale:2"]
    assert [version.description for version in grid.functions("scale")] == ["times 2", "times 3"]


def _assert_failures(grid: Grid, left: LeftBehind) -> None:
    failed = grid.session(left.sessions["failed"])
    tasks = {task.index: task for task in failed.tasks()}
    assert [tasks[n].state for n in range(6)] == [*["COMPLETED"] * 2, "FAILED", *["COMPLETED"] * 2, "FAILED"]
    assert [tasks[n].attempts for n in range(6)] == [1, 2, 2, 2, 1, 2]
    error = tasks[2].error
    assert error is not None
    assert (error.type, error.message) == ("ValueError", "2 is no good")
    assert "old_book.py" in error.traceback
    with pytest.raises(SessionFailed) as caught:
        list(failed.results())
    assert [task.index for task in caught.value.failures] == [2, 5]
    found = list(grid.session(left.sessions["tolerated"]).results(errors="return"))
    assert [n for n, result in enumerate(found) if isinstance(result, TaskFailed)] == [2, 5]
    again = grid.session(left.sessions["resubmitted"])
    assert (again.spec.parent_id, again.progress().total) == (left.sessions["strict"], 4)
