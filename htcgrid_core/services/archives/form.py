"""The form of an archive, which docs/data.md describes: a zip of JSON Lines, and a manifest of their digests.

A line of ``events.jsonl`` is an event as it was encoded; one of ``results.jsonl`` is an object whose last value is a
result or an error as it was encoded. So bytes come back as they were, whatever JSON means to whoever reads them.
Pickles are base64. A line break within JSON, where it can only be white space, becomes a space.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from htcgrid_core.codecs.buffers import Buffer
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.session import Codec

FORM = "htcgrid-sessions/1"
PURPOSE = "archive"  # of the manifest's signature
MANIFEST = "manifest.json"
SESSION, EVENTS, RESULTS, ATTEMPTS, AUDIT = (
    "session.json", "events.jsonl", "results.jsonl", "attempts.jsonl", "audit.jsonl",
)  # fmt: skip
FILES = (SESSION, EVENTS, RESULTS, ATTEMPTS, AUDIT)  # of each session
COMPARED = (EVENTS, RESULTS)  # what tells two sessions of one id apart
_RESULT, _ERROR, _PICKLE = b',"result":', b',"error":', b',"pickle":'
_DIGEST = re.compile(rb"[0-9a-f]{64}")
_NOT_READ = (ValueError, LookupError, TypeError, AttributeError, binascii.Error)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive, by its size and SHA-256."""

    size: int
    sha256: str


def path_of(session_id: str, name: str) -> str:
    """Where a file of a session is."""
    return f"sessions/{session_id}/{name}"


def json_bytes(value: Any) -> bytes:
    """As JSON of ASCII characters, in one way."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode("ascii")


def event_line(event: bytes, codec: Codec) -> bytes:
    """An event as a line."""
    return (json_bytes(base64.b64encode(event).decode()) if codec == "pickle" else _one_line(event)) + b"\n"


def event_of(line: bytes, codec: Codec) -> bytes:
    """Undo ``event_line``.

    Raises:
        CorruptPayload: it is no such line.
    """
    try:
        return base64.b64decode(json.loads(line), validate=True) if codec == "pickle" else line.removesuffix(b"\n")
    except _NOT_READ as error:
        raise CorruptPayload(f"a line of {EVENTS} cannot be read: {error}") from error


def outcome_line(outcome: Outcome, codec: Codec) -> bytes:
    """A task that has an outcome as a line."""
    told = {
        "index": outcome.index,
        "state": TaskState.FAILED if outcome.failed else TaskState.COMPLETED,
        "attempt": outcome.attempt,
        "started_at": outcome.started,
        "seconds": outcome.seconds,
        "stdout": outcome.stdout,
        "stderr": outcome.stderr,
    }
    head = json.dumps(told, separators=(",", ":")).encode("ascii")[:-1]
    if outcome.failed:
        return b"".join((head, _ERROR, _one_line(outcome.payload), b"}\n"))
    if codec == "pickle":
        return b"".join((head, _PICKLE, b'"', base64.b64encode(outcome.payload), b'"}\n'))
    return b"".join((head, _RESULT, _one_line(outcome.payload), b"}\n"))


def gap_line(index: int) -> bytes:
    """A task without an outcome as a line."""
    return json.dumps({"index": index, "state": TaskState.CANCELLED}, separators=(",", ":")).encode("ascii") + b"\n"


def outcome_of(line: bytes) -> tuple[int, Outcome | None]:
    """Undo ``outcome_line`` and ``gap_line``: the task's index, and its outcome if it has one.

    Raises:
        CorruptPayload: it is no such line.
    """
    body = line.removesuffix(b"\n").removesuffix(b"}")
    try:
        # Texts of the object have no such marks in them: in JSON, their quotes are escaped.
        for mark in (_RESULT, _ERROR, _PICKLE):
            head, found, payload = body.partition(mark)
            if found:
                told = json.loads(head + b"}")
                break
        else:
            return int(json.loads(line)["index"]), None
        value = base64.b64decode(payload.strip(b'"'), validate=True) if mark == _PICKLE else payload
        return int(told["index"]), Outcome(
            int(told["index"]),
            mark == _ERROR,
            int(told["attempt"]),
            float(told["started_at"]),
            float(told["seconds"]),
            value,
            str(told["stdout"]),
            str(told["stderr"]),
        )
    except _NOT_READ as error:
        raise CorruptPayload(f"a line of a task cannot be read: {error}") from error


def shared_in(event: bytes, shared: Iterable[str]) -> set[str]:
    """Which of some shared inputs (``digest.codec``) an event names."""
    if not (names := set(shared)):
        return set()
    found = {digest.decode() for digest in _DIGEST.findall(event)}
    return {name for name in names if name.partition(".")[0] in found}


def _one_line(encoded: Buffer) -> bytes:
    return bytes(encoded).replace(b"\n", b" ")
