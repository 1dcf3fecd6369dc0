"""Failed attempts of tasks that run again: what each said last, in little; kept as long as the session."""

from __future__ import annotations

from dataclasses import replace

from htcgrid_core.codecs.cut_text import end_of
from htcgrid_core.codecs.outcomes import Outcome, Outcomes, agent_of_error, decode_error, encode_error, pack, unpack
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.task_error import TaskError


class FailedAttempts:
    """Those of one commit, as many as there is room for."""

    def __init__(self) -> None:
        self._kept = Outcomes()
        self._left = limits.ATTEMPTS_BYTES

    def add(self, outcome: Outcome, error: TaskError, agent: str) -> None:
        """Keep what a failed attempt said: its error, the end of its traceback and of its output, and who ran it."""
        kept = limits.ATTEMPT_TEXT_BYTES
        told = encode_error(TaskError(error.type[:kept], error.message[:kept], _end_of(error.traceback)), agent=agent)
        texts = _end_of(outcome.stdout), _end_of(outcome.stderr)
        size = len(told) + sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
        if size > self._left:
            return
        self._left -= size
        self._kept.append(replace(outcome, payload=told, stdout=texts[0], stderr=texts[1]))

    def packed(self) -> bytes | None:
        """For a commit; None if there are none."""
        return pack(self._kept) if self._kept else None


def _end_of(text: str) -> str:
    return end_of(text.encode("utf-8", "surrogatepass"), limits.ATTEMPT_TEXT_BYTES)


def unpacked(data: bytes) -> dict[int, TaskOutcome]:
    """Each task with what its last attempt said, in RETRY; nothing if that is damaged, which ends no task."""
    return {attempt.index: attempt for attempt in _attempts(data)}


def of_task(data: bytes, index: int) -> list[TaskOutcome]:
    """The attempts of one task, in RETRY; none if that is damaged."""
    return [attempt for attempt in _attempts(data) if attempt.index == index]


def _attempts(data: bytes) -> list[TaskOutcome]:
    try:
        return [_attempt(outcome) for outcome in unpack(data)]
    except CorruptPayload:
        return []


def _attempt(outcome: Outcome) -> TaskOutcome:
    return TaskOutcome(
        index=outcome.index,
        state=TaskState.RETRY,
        attempts=outcome.attempt,
        error=decode_error(outcome.payload),
        started_at=outcome.started,
        duration_seconds=outcome.seconds,
        agent=agent_of_error(outcome.payload),
        stdout=outcome.stdout,
        stderr=outcome.stderr,
    )
