"""Views: rows of a grid as the public schema shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from htcgrid_core.api import models
from htcgrid_core.codecs.outcomes import Outcome, decode_error
from htcgrid_core.codecs.values import decode_json
from htcgrid_core.codecs.wire import redacted, row_of, version_of
from htcgrid_core.domain.demand import Demand
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import SessionRecord, tenant_of
from htcgrid_core.domain.task_error import TaskError
from htcgrid_core.domain.tenant_names import owner_of
from htcgrid_core.services.attempts import Attempts
from htcgrid_core.services.timings import BOUNDS, Timings

_EXACT = b" "  # with which an encoded value begins that not every reader of JSON reads as it is


def session(record: SessionRecord) -> models.Session:
    """A session."""
    counters, told = record.counters, _loaded(redacted(record.spec))
    return models.Session(
        id=record.session_id,
        version=version_of(record),
        state=record.state,
        name=record.name,
        tenant=tenant_of(record.session_id),
        function=_function_name(told),
        labels=record.labels,
        priority=record.priority,
        pool=record.pool,
        parent=told.get("parent_id"),
        total=counters.total,
        completed=counters.completed,
        failed=counters.failed,
        cancelled=counters.cancelled,
        pending=counters.pending,
        retrying=record.retrying,
        submitted_at=record.submitted_at,
        ended_at=record.ended_at,
        deadline_at=record.deadline_at,
        expires_at=record.expires_at,
        reason=record.reason,
        owner=record.owner,
        held=record.held,
    )


def function_of(record: SessionRecord) -> str:
    """What a session's tasks run, by name; empty if a newer release asked for what this one does not know."""
    return _function_name(_loaded(redacted(record.spec)))


def _function_name(told: dict[str, Any]) -> str:
    return str(told.get("function", {}).get("name", ""))


def rows(records: Iterable[SessionRecord]) -> list[dict[str, Any]]:
    """Sessions, for this project's own client."""
    return [row_of(record) for record in records]


def _loaded(spec: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(spec) if spec else {}
    return found


# Tasks, as lines


def outcome_line(outcome: Outcome, *, pickled: bool, agent: str = "", cursor: str | None = None) -> bytes:
    """A task that has an outcome, as a line of JSON."""
    line: dict[str, Any] = {
        "index": outcome.index,
        "state": TaskState.FAILED if outcome.failed else TaskState.COMPLETED,
        "attempts": outcome.attempt,
        "started_at": outcome.started or None,
        "duration": outcome.seconds,
    }
    if agent:
        line["agent"] = agent
    if outcome.failed:
        line["error"] = _error(decode_error(outcome.payload))
    elif pickled:
        line["result"], line["pickled"] = None, True
    else:
        line["result"] = public_json(bytes(outcome.payload))
    if outcome.stdout or outcome.stderr:
        line["stdout"], line["stderr"] = outcome.stdout, outcome.stderr
    if cursor is not None:
        line["cursor"] = cursor
    return _line(line)


def _error(error: TaskError) -> dict[str, str]:
    return {"type": error.type, "message": error.message, "traceback": error.traceback}


def gap_line(index: int, state: TaskState) -> bytes:
    """A task without an outcome, as a line of JSON."""
    return _line({"index": index, "state": state})


def task_line(task: TaskOutcome, cursor: str | None = None) -> bytes:
    """A task that has no outcome yet, as a line of JSON: what is known of its last attempt is in it."""
    line: dict[str, Any] = {"index": task.index, "state": task.state, "attempts": task.attempts}
    if task.started_at:
        line["started_at"], line["duration"] = task.started_at, task.duration_seconds
    if task.agent:
        line["agent"] = task.agent
    if task.error is not None:
        line["error"] = _error(task.error)
    if task.stdout or task.stderr:
        line["stdout"], line["stderr"] = task.stdout, task.stderr
    if cursor is not None:
        line["cursor"] = cursor
    return _line(line)


def attempts_body(found: Attempts) -> bytes:
    """All attempts of a task, as JSON (``models.Attempts``)."""
    shown = [
        {
            "attempt": one.attempts,
            "state": one.state,
            "agent": one.agent,
            "started_at": one.started_at or None,
            "duration": one.duration_seconds,
            "error": None if one.error is None else _error(one.error),
            "stdout": one.stdout,
            "stderr": one.stderr,
        }
        for one in found.found
    ]
    return _line({"begun": found.begun, "attempts": shown})


def _line(found: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # texts with lone surrogates, which no UTF-8 has
        return orjson.dumps(_printable(found), option=orjson.OPT_APPEND_NEWLINE)


def public_json(payload: bytes) -> orjson.Fragment:
    """An encoded value as everybody's JSON on one line: NaN and infinities, which JSON does not have, are null."""
    if payload.startswith(_EXACT) or b"\n" in payload or b"NaN" in payload or b"Infinity" in payload:
        return orjson.Fragment(_everybodys(decode_json(payload)))
    return orjson.Fragment(payload)


def _everybodys(value: Any) -> bytes:
    import json
    import math

    def told(one: Any) -> Any:
        if isinstance(one, float) and not math.isfinite(one):
            return None
        if isinstance(one, dict):
            return {name: told(item) for name, item in one.items()}
        return [told(item) for item in one] if isinstance(one, list) else one

    return json.dumps(told(value), separators=(",", ":")).encode()


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_printable(name): _printable(item) for name, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def timed(found: Timings) -> models.Timings:
    """When a session's tasks ended, and how long they took."""
    return models.Timings(
        tasks=found.tasks,
        began=found.began,
        step=found.step_seconds,
        ended=list(found.ended),
        bounds=list(BOUNDS),
        durations=list(found.durations),
        slowest=[
            models.SlowTask(
                index=slow.index,
                state=TaskState.FAILED if slow.failed else TaskState.COMPLETED,
                attempts=slow.attempts,
                duration=slow.seconds,
            )
            for slow in found.slowest
        ],
    )


# Functions


def function(version: FunctionVersion) -> models.FunctionVersion:
    """A version of a function, by its name within its tenant."""
    return models.FunctionVersion(
        function=owner_of(version.function)[1],
        version=version.version,
        handler=version.handler,
        runtime=version.runtime,
        variables=sorted(version.variables),
        result_format=version.result_format,
        runtime_client=version.runtime_client,
        concurrency=version.concurrency,
        content=version.content,
        files=version.files,
        unpacked_bytes=version.unpacked_bytes,
        package_bytes=version.package_bytes,
        timeout=version.timeout_seconds,
        memory_mb=version.memory_mb,
        cpus=version.cpus,
        isolation=version.isolation,
        description=version.description,
        events_schema=version.events_schema,
        results_schema=version.results_schema,
        deployed_at=version.deployed_at,
        deployed_by=version.deployed_by,
    )


def function_row(version: FunctionVersion) -> dict[str, Any]:
    """The same for this project's own client, which asks for it by name and number."""
    row: dict[str, Any] = version.model_dump(mode="json")
    return {**row, "function": owner_of(version.function)[1], "blob": "", "variables": {}}


# The grid


def destination(found: Destination) -> models.Destination:
    """A destination, without its secret."""
    return models.Destination(
        name=found.name,
        target=found.target,
        disabled=found.disabled,
        may_be_private=found.may_be_private,
        progress=list(found.progress),
    )


def pool_load(pool: str, demand: Iterable[Demand], agents: int, slots: int, busy: int) -> models.PoolLoad:
    """A pool's load: what its sessions want, and what its agents have."""
    mine = [one for one in demand if one.pool == pool]
    return models.PoolLoad(
        pool=pool,
        sessions=sum(one.sessions for one in mine),
        tasks=sum(one.tasks for one in mine),
        work_seconds=sum(one.work_seconds for one in mine),
        slots_wanted=sum(one.slots_wanted for one in mine),
        agents=agents,
        slots=slots,
        busy=busy,
    )
