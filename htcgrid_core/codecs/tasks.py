"""Tasks that have ended: as they travel, with their results encoded, and as their user sees them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from htcgrid_core.codecs.outcomes import Outcome, decode_error
from htcgrid_core.codecs.values import DECODERS
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import SessionSpec

NOT_LOADED: Final = "task {index} has completed, and this is raised where its pickled result is loaded"


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Tasks that one agent committed together: all of them, or those that were asked for.

    Attributes:
        cursor: grows with every commit of the session; pass it back to go on after this page.
        outcomes: verified; their results are still encoded.
    """

    cursor: int
    agent: str
    outcomes: Iterable[Outcome]


def decoded(spec: SessionSpec, found: TaskPage | TaskOutcome, *, values: bool = True) -> Iterator[TaskOutcome]:
    """The tasks of a page; a task that has no outcome is what it is.

    Args:
        values: with results and exceptions; loading pickled ones runs code of those who may submit.

    Raises:
        Exception: whatever loading a pickled result raises.
    """
    if isinstance(found, TaskOutcome):
        yield found
    else:
        for outcome in found.outcomes:
            yield task_of(spec, outcome, found.agent, values=values)


def task_of(spec: SessionSpec, outcome: Outcome, agent: str = "", *, values: bool = True) -> TaskOutcome:
    """An outcome as a user sees it, decoded.

    Args:
        values: with results and exceptions.

    Raises:
        Exception: whatever loading a pickled result raises.
    """
    return TaskOutcome(
        index=outcome.index,
        state=TaskState.FAILED if outcome.failed else TaskState.COMPLETED,
        attempts=outcome.attempt,
        result=result_of(spec, outcome) if values and not outcome.failed else None,
        error=decode_error(outcome.payload, signed=values and spec.codec == "pickle") if outcome.failed else None,
        agent=agent,
        started_at=outcome.started,
        duration_seconds=outcome.seconds,
        stdout=outcome.stdout,
        stderr=outcome.stderr,
    )


def result_of(spec: SessionSpec, outcome: Outcome) -> Any:
    """What a COMPLETED task returned.

    Raises:
        Exception: whatever loading a pickled result raises, with a note that this is what raised it.
    """
    try:
        return DECODERS[spec.codec](outcome.payload)
    except BaseException as error:
        with contextlib.suppress(Exception):  # an exception's own class may forbid it
            error.add_note(NOT_LOADED.format(index=outcome.index))
        raise
