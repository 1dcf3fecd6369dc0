"""A session of which something stored is damaged, or of a kind that this version does not know, fails alone.

Agents go on, lists show all others, and whoever waits for it is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, connect
from htcgrid_core.adapters.aws.dynamodb.item_payloads import deflated
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.local.directory import Directory, open_plane
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.reconcile import reconcile
from htcgrid_core.services.unreadable import end_unreadable
from tests.aws.grids import CloudUnderTest
from tests.e2e.command_line import CommandLine
from tests.e2e.support import ended, eventually, fresh_grid
from tests.planes import plane_of, still_grid

DOUBLE = "tests.e2e.handlers.double"
BAD, GOOD = "bad", "good"


def unknown_field(spec: dict[str, Any]) -> str:
    return json.dumps({**spec, "retry": {"max_attempts": "as often as needed"}})


def no_json(spec: dict[str, Any]) -> str:
    return json.dumps(spec)[:-9]


SPECS: dict[str, tuple[Callable[[dict[str, Any]], str], str]] = {
    "of another kind": (unknown_field, "CorruptPayload: session .*: a stored SessionSpec cannot be read.*max_attempts"),
    "cut off": (no_json, "CorruptPayload: session .*: a stored SessionSpec cannot be read.*Invalid JSON"),
}
LOCAL = {
    "unknown state": ("UPDATE sessions SET state = 'PAUSED' WHERE id = ?", "'PAUSED' is not a state"),
    "text for a number": ("UPDATE sessions SET total = 'many' WHERE id = ?", "its total is a str"),
    "bytes for a text": ("UPDATE sessions SET reason = x'ff' WHERE id = ?", "its reason is a bytes"),
    "a bundle's tasks": ("UPDATE bundles SET tasks = '[0,' WHERE session_id = ?", "bundle 00000000 of session"),
    "tasks of another kind": ("UPDATE bundles SET tasks = '{\"i\":7}' WHERE session_id = ?", "cannot be read"),
}


def is_told(grid: Grid, session_id: str, said: str) -> None:
    """The session has FAILED, and says why."""

    def failed() -> bool:
        (progress,) = grid.progress([session_id])
        return progress.state == "FAILED"

    eventually(failed, "it failed")
    (progress,) = grid.progress([session_id])
    assert progress.ended_at is None or progress.ended_at > 0
    assert len(progress.reason) < 1000
    assert re.search(said, progress.reason), progress.reason


class TestLocal:
    """The agent starts after the damage, and meets it at once."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return tmp_path / "grid"

    @pytest.fixture
    def url(self, root: Path) -> Iterator[str]:
        with fresh_grid(root) as url:
            yield url

    @pytest.fixture
    def plane(self, url: str, root: Path) -> Plane:
        return open_plane(Directory(root))

    @pytest.fixture
    def bad(self, plane: Plane) -> str:
        """A live session that nobody has begun."""
        return still_grid(plane).submit(DOUBLE, [1, 2], name=BAD, labels={"kind": BAD}).id

    def damage(self, root: Path, statement: str, *values: object) -> None:
        assert Database(Directory(root).database).write(lambda db: db.execute(statement, values).rowcount)

    def the_others_go_on(self, url: str, bad: str, said: str) -> None:
        with connect(url) as grid:
            good = grid.submit(DOUBLE, [1, 2], name=GOOD)
            assert list(good.results()) == [2, 4]
            is_told(grid, bad, said)
            assert {session.name for session in grid.sessions()} >= {GOOD}
            assert bad in {session.id for session in grid.sessions()}
            assert [progress.session_id for progress in grid.progress([bad, good.id])] == [bad, good.id]
            agents = plane_of(grid).store.agents(plane_of(grid).clock.now())
            assert [agent.problem for agent in agents] == [""]
            eventually(lambda: not plane_of(grid).store.live_sessions(), "nothing is left to look at")
            entry = plane_of(grid).store.history(bad)[-1]
            assert entry.after == "FAILED"

    @pytest.mark.parametrize("kind", SPECS)
    def test_what_it_asks_for(self, url: str, root: Path, plane: Plane, bad: str, kind: str) -> None:
        change, said = SPECS[kind]
        spec = json.loads(plane.store.session(bad, 0.0).spec)
        self.damage(root, "UPDATE sessions SET spec = ? WHERE id = ?", change(spec), bad)
        with pytest.raises(CorruptPayload):
            _ = still_grid(plane).session(bad).spec
        self.the_others_go_on(url, bad, said)

    @pytest.mark.parametrize("kind", LOCAL)
    def test_its_rows(self, url: str, root: Path, bad: str, kind: str) -> None:
        statement, said = LOCAL[kind]
        self.damage(root, statement, bad)
        self.the_others_go_on(url, bad, said)

    @pytest.mark.parametrize("kind", ["unknown state", "text for a number"])
    def test_the_command_line_shows_all_others(self, url: str, root: Path, bad: str, kind: str, tmp_path: Path) -> None:
        cli = CommandLine.in_folder(tmp_path / "work", url)
        good = cli.session("mine.square", "--range", "2", "--name", GOOD)
        self.damage(root, LOCAL[kind][0], bad)
        listed = cli.call("sessions", "--json")
        assert {line["session"] for line in listed.objects} == {good, bad}
        shown = cli.call("sessions")
        assert (shown.code, good in shown.out, bad in shown.out) == (0, True, True)
        status = cli.call("status", bad, good)
        assert good in status.out
        assert "Traceback" not in status.err

    def test_a_submission_that_was_not_finished_is_aborted(self, root: Path, plane: Plane) -> None:
        grid = still_grid(plane)
        bad = grid.submit(DOUBLE, [1], name=BAD).id
        self.damage(root, "UPDATE sessions SET state = 'SUBMITTED', spec = '{' WHERE id = ?", bad)
        assert end_unreadable(plane, bad, CorruptPayload("it is damaged"), "somebody")
        (progress,) = grid.progress([bad])
        assert (progress.state, progress.reason) == ("CANCELLED", "CorruptPayload: it is damaged")

    def test_one_that_cannot_be_ended_either_is_left_alone(self, plane: Plane) -> None:
        assert not end_unreadable(plane, "s-unknown", CorruptPayload("it is damaged"), "somebody")


CLOUD: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown state": ("SET st = :v", {":v": {"S": "PAUSED"}}, "'PAUSED' is not a state"),
    "no generation": ("REMOVE gen", {}, "its attribute gen is missing"),
    "no history": ("REMOVE hist", {}, "its attribute hist is missing"),
    "text for a number": ("SET tot = :v", {":v": {"S": "many"}}, "its attribute tot is a str"),
    "a number for a text": ("SET nm = :v", {":v": {"N": "7"}}, "its attribute nm is a int"),
    "a map": ("SET spec = :v", {":v": {"M": {}}}, "its attribute spec is a dict"),
    "what it asks for": ("SET spec = :v", {":v": {"B": b"\1damaged"}}, "CorruptPayload.*SessionSpec"),
    "a spec of another kind": (
        "SET spec = :v",
        {":v": {"B": deflated(b'{"function": 7}')}},
        "CorruptPayload.*function",
    ),
}


class TestCloud:
    @pytest.mark.parametrize("kind", CLOUD)
    def test_its_row(self, aws_cloud: CloudUnderTest, kind: str) -> None:
        expression, values, said = CLOUD[kind]
        with connect(aws_cloud.url) as grid:
            bad, good = (grid.submit(DOUBLE, [1, 2], name=name) for name in (BAD, GOOD))
            self.damage(aws_cloud, f"S#{bad.id}", expression, values)
            agent = aws_cloud.start_agent()
            assert ended(good).completed == 2
            is_told(grid, bad.id, said)
            assert [progress.session_id for progress in grid.progress([bad.id, good.id])] == [bad.id, good.id]
            assert {session.id for session in grid.sessions()} == {bad.id, good.id}
            eventually(lambda: not plane_of(grid).store.live_sessions(), "nothing is left to look at")
            assert agent.poll() is None, aws_cloud.logs()
            assert "Traceback" not in aws_cloud.logs()

    def test_a_bundles_item(self, aws_cloud: CloudUnderTest) -> None:
        with connect(aws_cloud.url) as grid:
            bad, good = (grid.submit(DOUBLE, [1, 2], name=name) for name in (BAD, GOOD))
            table = aws_cloud.account.dynamodb()
            name = table.list_tables()["TableNames"][0]
            block, *_ = [
                item for item in table.scan(TableName=name)["Items"]
                if item["pk"]["S"].startswith(f"{bad.id}#") and item["sk"]["S"].startswith("R#")
            ]  # fmt: skip
            key = {"pk": block["pk"], "sk": block["sk"]}
            table.update_item(TableName=name, Key=key, UpdateExpression="REMOVE fi, n")
            agent = aws_cloud.start_agent()
            assert ended(good).completed == 2
            is_told(grid, bad.id, f"CorruptPayload: an item of session {bad.id} cannot be read")
            assert agent.poll() is None, aws_cloud.logs()

    def test_the_reconciler_alone(self, aws_cloud: CloudUnderTest) -> None:
        """As the Lambda function runs it, where no agent is."""
        with connect(aws_cloud.url) as grid:
            bad, good = (grid.submit(DOUBLE, [1, 2], name=name) for name in (BAD, GOOD))
            self.damage(aws_cloud, f"S#{bad.id}", *CLOUD["unknown state"][:2])
            assert reconcile(plane_of(grid), 10.0).ended == 1
            assert [record.session_id for record in plane_of(grid).store.live_sessions()] == [good.id]
            assert "PAUSED" in plane_of(grid).store.history(bad.id)[-1].detail

    @staticmethod
    def damage(under_test: CloudUnderTest, partition: str, expression: str, values: dict[str, Any]) -> None:
        table = under_test.account.dynamodb()
        name = table.list_tables()["TableNames"][0]
        more: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
        key = {"pk": {"S": partition}, "sk": {"S": "S"}}
        table.update_item(TableName=name, Key=key, UpdateExpression=expression, **more)
