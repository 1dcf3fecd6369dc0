"""What a worker may write, whatever tasks it is about: the bounds of each kind of message, checked where it is read."""

from __future__ import annotations

import json
import math

from htcgrid_core.agent.workers.native import sealed_memory, wire
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.session import SESSION_ID

ERROR_BYTES = 4 << 20  # of one encoded error: texts, and an exception of at most 1 MiB before base64
PRINTED_CHARACTERS = limits.CAPTURE_BYTES + 100  # with the note that something was left out
CALENDAR_SECONDS = float(1 << 37)  # every calendar here knows this wall clock time, in the year 6325
WAITS_BYTES = 1 << 14
SLACK_SECONDS = 1.0
MOST_MB = float(1 << 30)
MOST_CORES = 1 << 14


def outcomes_in(body: bytes, longest_seconds: float) -> tuple[int, Outcomes]:
    """The serial and outcomes of an OUTCOMES message.

    Args:
        longest_seconds: that any of its tasks can have taken.

    Raises:
        CorruptPayload: they cannot be a worker's.
        struct.error: it is too short.
    """
    serial, packed = wire.unpack_outcomes(body)
    found = codec.unpack(packed)
    if not found:
        raise CorruptPayload("a page of no outcomes")
    if max(found.failed) > 1:
        raise CorruptPayload("outcomes that neither failed nor did not")
    _check_times(found, longest_seconds + SLACK_SECONDS)
    _check_sizes(found)
    if found.logs:
        _check_logs(found)
    return serial, found


def used_in(body: bytes, longest_seconds: float) -> tuple[int, int, float, float, float]:
    """What a USED message says: its serial, tasks, peak (MiB), processor time (s) and time (s).

    Args:
        longest_seconds: that its worker has lived.

    Raises:
        CorruptPayload: no worker can have used that.
        struct.error: it is of another length.
    """
    serial, tasks, *used = wire.unpack_used(body)
    most = (MOST_MB, longest_seconds * MOST_CORES + SLACK_SECONDS, longest_seconds + SLACK_SECONDS)
    if not tasks or not all(0 <= value <= bound for value, bound in zip(used, most, strict=True)):  # nor is NaN
        raise CorruptPayload(f"{tasks} tasks that used {used}")
    peak_mb, cpu_seconds, seconds = used
    return serial, tasks, peak_mb, cpu_seconds, seconds


def result_in(body: bytes, fd: int, longest_seconds: float) -> tuple[int, Outcomes]:
    """The serial and outcome of a RESULT message, whose result is in the memory behind a descriptor.

    Raises:
        CorruptPayload: it cannot be a worker's, or the memory is not sealed.
        struct.error: it is too short.
    """
    serial, found = outcomes_in(body, longest_seconds)
    if len(found) != 1 or found.failures or found.size:
        raise CorruptPayload("sealed memory that is not for one result")
    result = sealed_memory.read(fd, limits.MAX_RESULT_BYTES)
    found.lengths[0] = found.size = len(result)
    found.data = [result]
    return serial, found


def _check_times(found: Outcomes, longest_seconds: float) -> None:
    # A sum is finite only if each of them is a number, and comparing numbers that are none tells nothing.
    for column, most in ((found.started, CALENDAR_SECONDS), (found.seconds, longest_seconds)):
        if not math.isfinite(sum(column)) or min(column) < 0.0 or max(column) > most:
            raise CorruptPayload("outcomes of impossible times")


def _check_sizes(found: Outcomes) -> None:
    if max(found.lengths) > limits.MAX_RESULT_BYTES:
        raise CorruptPayload(f"a result of over {limits.MAX_RESULT_BYTES:,} bytes")
    if found.failures and max(n for n, failed in zip(found.lengths, found.failed, strict=True) if failed) > ERROR_BYTES:
        raise CorruptPayload(f"an error of over {ERROR_BYTES:,} bytes")


def _check_logs(found: Outcomes) -> None:
    indexes = set(found.indexes)
    for index, texts in found.logs.items():
        if type(index) is not int or index not in indexes:
            raise CorruptPayload("output of a task that is not among the outcomes")
        for text in texts:
            printed(text)


def printed(text: object) -> str:
    """What a task printed.

    Raises:
        CorruptPayload: it is no text, or more than is kept.
    """
    if not isinstance(text, str) or len(text) > PRINTED_CHARACTERS or not _is_encodable(text):
        raise CorruptPayload("output that is no text, or more than is kept")
    return text


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair
        return False
    return True


def load_error_in(body: bytes) -> TaskError:
    """Why a function could not be loaded, from a LOAD_FAILED message.

    Raises:
        CorruptPayload: it cannot be a worker's.
        ValueError, LookupError, TypeError, RecursionError: nor this.
    """
    if len(body) > ERROR_BYTES:
        raise CorruptPayload(f"an error of over {ERROR_BYTES:,} bytes")
    error, told = codec.decode_error(body), json.loads(body)
    log = printed(told["stdout"]) + printed(told["stderr"])
    trace = f"{error.traceback}\nprinted while loading:\n{log}" if log else error.traceback
    return TaskError(error.type, error.message, trace)


def waits_in(body: bytes) -> tuple[int, int, tuple[str, ...]]:
    """Which task waits (serial, position), and for which sessions, from a WAITS message.

    Raises:
        CorruptPayload: it cannot be a worker's.
        ValueError, LookupError, TypeError, RecursionError: nor this.
    """
    if len(body) > WAITS_BYTES:
        raise CorruptPayload(f"a wait of over {WAITS_BYTES:,} bytes")
    told = json.loads(body)
    serial, position, session_ids = told["serial"], told["position"], told["sessions"]
    if type(serial) is not int or type(position) is not int or position < 0:
        raise CorruptPayload("a wait of no task")
    if not isinstance(session_ids, list) or len(session_ids) > limits.PROGRESS_BATCH:
        raise CorruptPayload(f"a wait for no sessions, or over {limits.PROGRESS_BATCH}")
    if not all(isinstance(session_id, str) and SESSION_ID.fullmatch(session_id) for session_id in session_ids):
        raise CorruptPayload("a wait for what is no session")
    return serial, position, tuple(session_ids)
