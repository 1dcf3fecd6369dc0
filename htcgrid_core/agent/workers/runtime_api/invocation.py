"""One task as an invocation: what a runtime client is told."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from htcgrid_core.agent.workers import verified_files
from htcgrid_core.agent.workers.lambda_environment import function_arn
from htcgrid_core.agent.workers.runtime_api.http import Connection
from htcgrid_core.codecs import strict_json
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.shared import FILE, FOLDER, MARK, NOT_SUBMITTED
from htcgrid_core.codecs.values import decode_json, encode_json
from htcgrid_core.domain.session import DEFAULT_TENANT
from htcgrid_core.ports.worker import Chunk

NO_LIMIT_SECONDS = (2**31 - 1) / 1000  # what a context says if there is no time limit
INVOCATION_ID = "Lambda-Runtime-Invocation-Id"


@dataclass(frozen=True, slots=True)
class Invocation:
    """A task that a client was given and has not answered.

    Attributes:
        slot: whose task it is.
        started: monotonic time.
        connection: over which it was given.
        was_parked: whether the client was waiting for it, and may have died doing so.
        invocation_id: of this handing out.
    """

    slot: int
    chunk: Chunk
    position: int
    connection: Connection
    was_parked: bool = False
    started: float = field(default_factory=time.monotonic)
    invocation_id: str = field(default_factory=lambda: str(uuid4()))

    @property
    def running(self) -> tuple[int, int, float]:
        """(serial, position, start), as a WorkerPool tells it."""
        return self.chunk.serial, self.position, self.started

    def outcome(self, payload: bytes, *, failed: bool, stdout: str = "", stderr: str = "") -> Outcome:
        """Its end, now."""
        seconds = time.monotonic() - self.started
        index, attempt = self.chunk.indexes[self.position], self.chunk.attempts[self.position]
        return Outcome(index, failed, attempt, time.time() - seconds, seconds, payload, stdout, stderr)

    def is_unread(self) -> bool:
        """Whether its client was seen to end before it had read it."""
        return self.was_parked and (self.connection.reset or self.connection.unsent)


def request_id(chunk: Chunk, position: int) -> str:
    """Unique to one attempt; as in the context of a native handler."""
    return f"{chunk.function.session_id}/{chunk.indexes[position]}/{chunk.attempts[position]}"


def headers(given: Invocation) -> list[tuple[str, str]]:
    """What a runtime client is told of a task, beside its event."""
    chunk, position = given.chunk, given.position
    function, who = chunk.function, request_id(chunk, position)
    timeout = function.spec.task_timeout_seconds
    deadline_ms = int((time.time() + (NO_LIMIT_SECONDS if timeout is None else timeout)) * 1000)
    trace = function.spec.trace(function.session_id).attempt(
        function.session_id, chunk.indexes[position], chunk.attempts[position], function.traced_every
    )
    place = {
        "session_id": function.session_id,
        "task_index": chunk.indexes[position],
        "attempt": chunk.attempts[position],
        "traceparent": trace.parent,
        "tracestate": trace.state,
    }
    client_context = {"client": {}, "env": {}, "custom": place, "w3c": trace.w3c}  # the last is for context.w3c()
    # As Lambda does, which sends no Cognito identity either unless a mobile client's SDK has called it.
    tenant = function.spec.tenant
    tenants = [] if tenant == DEFAULT_TENANT else [("Lambda-Runtime-Aws-Tenant-Id", tenant)]
    return [
        *tenants,
        ("Lambda-Runtime-Aws-Request-Id", who),
        ("Lambda-Runtime-Deadline-Ms", str(deadline_ms)),
        ("Lambda-Runtime-Invoked-Function-Arn", function_arn(function)),
        ("Lambda-Runtime-Trace-Id", trace.x_ray),
        ("Lambda-Runtime-Client-Context", json.dumps(client_context, separators=(",", ":"))),
        (INVOCATION_ID, given.invocation_id),
    ]


def event(chunk: Chunk, position: int) -> bytes:
    """A task's event as JSON that every runtime of its kind reads, shared inputs in their places.

    Raises:
        ValueError: it holds what its runtime cannot read, such as a pickled shared input, or what it was not submitted
            with.
        CorruptPayload, GridUnavailable, OSError: one that has changed, is not there any more, or cannot be read.
    """
    at = sum(chunk.lengths[:position])
    data = bytes(chunk.data[at : at + chunk.lengths[position]])
    if chunk.shared:
        try:
            data = encode_json(_with_shared(decode_json(data), chunk.shared))
        except RecursionError as error:
            raise ValueError("the event is nested too deeply") from error
    if name := strict_json.constant_in(data):  # nor does AWS's client for Python read it
        raise ValueError(f"the event holds {name}, which is not JSON: only native Python workers read it")
    return strict_json.escaped(data)


def _with_shared(value: Any, paths: dict[str, str]) -> Any:
    if isinstance(value, dict):
        if MARK in value and set(value) == {MARK, "codec"}:
            return _shared(value, paths)
        return {key: _with_shared(item, paths) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_shared(item, paths) for item in value]
    return value


def _shared(reference: dict[str, str], paths: dict[str, str]) -> Any:
    name = f"{reference[MARK]}.{reference['codec']}"
    path = paths.get(name)
    if path is None:
        raise ValueError(NOT_SUBMITTED.format(name=name))
    if reference["codec"] == "json":
        return decode_json(verified_files.read(path, reference[MARK], "shared input"))
    if reference["codec"] in ("bytes", FILE, FOLDER):
        return {**reference, "path": path}  # JSON has no bytes: the handler opens what is there
    raise ValueError("a pickled shared input can only be read by a native Python worker: put it as JSON or bytes")
