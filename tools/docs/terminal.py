"""What commands look like on a terminal of 80 columns: the commands themselves, on a grid that is always the same."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from unittest import mock

from click.testing import CliRunner
from rich.console import Console

from htcgrid_core.cli.live import Snapshot
from htcgrid_core.cli.main import cli
from htcgrid_core.client.grid import Grid
from htcgrid_core.client.progress import progress_of
from htcgrid_core.domain.agent import AgentRecord
from htcgrid_core.domain.audit import AuditEntry
from htcgrid_core.domain.costs import SessionCost, cost_of
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.domain.notification import Notification
from htcgrid_core.domain.outcome import TaskError, TaskOutcome
from htcgrid_core.domain.prices import FREE
from htcgrid_core.domain.session import Counters, SessionRecord, SessionSpec

COLUMNS = 80
NOW = 1_795_949_000.0
AGENT = "desk-7-0-d1caf4"


def _record(
    session_id: str, name: str, ago: float, took: float | None, counters: Counters, **asked: object
) -> SessionRecord:
    spec = SessionSpec(function=FunctionSpec(name="pricing.handler"), name=name, **asked)  # type: ignore[arg-type]
    failed = counters.failed > 0 and took is not None
    ended = SessionState.FAILED if failed else SessionState.COMPLETED
    return SessionRecord(
        session_id,
        SessionState.RUNNING if took is None else ended,
        spec.model_dump_json(),
        name,
        counters,
        NOW - ago,
        NOW - ago,
        ended_at=None if took is None else NOW - ago + took,
        bundles=1,
        reason=f"{counters.failed} of {counters.total} tasks failed" if failed else "",
    )


RECORDS = (
    _record("s-9c1e47ab30f2d5586b7790c1", "intraday", 41, None, Counters(200_000, completed=123_904, retrying=2)),
    _record(
        "t-04dd1b6e8f7a2c915e33b7fa", "the evening's book, all desks", 600, 75.2, Counters(1200, 1198, failed=2),
        task_timeout_seconds=30, labels={"desk": "rates"},
    ),
    _record("s-73e52a10c94bd86f01ae7d24", "book", 905, 0.4, Counters(3, completed=3)),
)  # fmt: skip
RUNNING, FAILED = RECORDS[0].session_id, RECORDS[1].session_id


class _FixedGateway:
    """Of a gateway, what these commands ask for."""

    url = "local://"

    def session(self, session_id: str) -> SessionRecord:
        for record in RECORDS:
            if record.session_id == session_id:
                return record
        raise SessionNotFound(session_id)

    def sessions(
        self, *, states: Sequence[SessionState] = (), limit: int = 100, before: float | None = None
    ) -> list[SessionRecord]:
        return [record for record in RECORDS if before is None or record.submitted_at < before][:limit]

    def history(self, session_id: str) -> list[AuditEntry]:
        at = self.session(session_id).submitted_at
        return [
            AuditEntry(at, session_id, "me@desk-7:4711", "submit", "", "SUBMITTED"),
            AuditEntry(at + 0.1, session_id, "me@desk-7:4711", "acknowledge", "SUBMITTED", "RUNNING"),
            AuditEntry(at + 75.2, session_id, AGENT, "fail", "RUNNING", "FAILED", self.session(session_id).reason),
        ]

    def cost(self, session_id: str) -> SessionCost:
        record = self.session(session_id)
        return SessionCost(session_id, cost_of(record.spent, FREE), record.spent, record.ended, FREE.name, FREE.note)

    def notifications(self, session_id: str) -> list[Notification]:
        return []

    def silent(self) -> list[str]:
        return []

    def agents(self) -> list[AgentRecord]:
        return []

    def tasks(self, record: SessionRecord, state: TaskState | None = None) -> Iterator[TaskOutcome]:
        if record.session_id == RUNNING:
            gone = TaskError("ConnectionError", "the market data server has gone away")
            for index, attempts in ((4711, 1), (98_304, 2)):
                yield TaskOutcome(
                    index, TaskState.RETRY, attempts=attempts, error=gone, started_at=NOW, duration_seconds=0.031
                )
            return
        errors = (
            TaskError("KeyError", "'EUR-ESTR-3M': there is no such curve in the market data of 2026-11-27"),
            TaskError("TaskTimeout", "the task took longer than its task_timeout of 30 s"),
        )
        for index, error, seconds in zip((17, 803), errors, (0.012, 30.0), strict=True):
            yield TaskOutcome(
                index, TaskState.FAILED, attempts=3, error=error, agent=AGENT, started_at=NOW, duration_seconds=seconds
            )

    def close(self) -> None:
        pass


def transcript() -> str:
    """Some commands and what they print."""
    grid = Grid(_FixedGateway())  # type: ignore[arg-type]
    with (
        mock.patch("htcgrid_core.client.connect.connect", return_value=grid),
        mock.patch.object(time, "localtime", lambda seconds=NOW, utc=time.gmtime: utc(seconds)),
        mock.patch.object(time, "time", return_value=NOW),
    ):
        parts = [
            _ran("sessions"),
            _ran("status", FAILED[:10]),
            _ran("tasks", FAILED[:10], "--state", "FAILED"),
            _ran("tasks", "intraday", "--state", "RETRY"),
            f"$ htcgrid up\n{_screen()}",
        ]
    return "```text\n" + "\n\n".join(parts) + "\n```"


def _ran(*arguments: str) -> str:
    done = CliRunner(env={"COLUMNS": str(COLUMNS)}).invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return f"$ htcgrid {' '.join(arguments)}\n{_trimmed(done.output)}"


def _screen() -> str:
    load = Measurement({"RUNNING": 1}, pending=RECORDS[0].counters.pending, agents=1, slots=8, busy=8)
    console = Console(width=COLUMNS, color_system=None)
    with console.capture() as captured:
        console.print(Snapshot(load, 3021.9, [progress_of(record) for record in RECORDS], []).table("grid ~/.htcgrid"))
    return _trimmed(captured.get())


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
