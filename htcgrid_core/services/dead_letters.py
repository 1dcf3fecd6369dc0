"""Dead letters are redriven a few times; what comes back even then ends its tasks FAILED, with the reason."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from htcgrid_core.codecs.outcomes import Outcome, Outcomes, encode_error
from htcgrid_core.domain import metrics
from htcgrid_core.domain.errors import CorruptPayload, IncompatibleGrid
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.bundle_queue import Hint, Message
from htcgrid_core.ports.dead_letters import DeadLetter, DeadLetters
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.claim import claim
from htcgrid_core.services.commit import commit
from htcgrid_core.services.unreadable import end_unreadable

_log = logging.getLogger(__name__)

MAX_REDRIVES = 3  # deaths of one message that may have been bad luck: agents that looked and had no room
LETTERS_A_TICK = 100
LEASE_SECONDS = 30.0
ACTOR = "dead letters"


@dataclass
class HandledDeadLetters:
    """What was done with dead letters."""

    redriven: int = 0
    failed: int = 0
    dropped: int = 0


def handle_dead_letters(plane: Plane, dead_letters: DeadLetters) -> HandledDeadLetters:
    """Deal with dead letters that there are now, up to a hundred."""
    done = HandledDeadLetters()
    while done.redriven + done.failed + done.dropped < LETTERS_A_TICK:
        letters = with_retries(plane, lambda: dead_letters.receive(10))
        if not letters:
            break
        for letter in letters:
            _handle(plane, dead_letters, letter, done)
    for what in metrics.DEAD_LETTERS.labels["what"]:
        plane.metrics.add(metrics.DEAD_LETTERS, getattr(done, what), what=what)
    return done


def _handle(plane: Plane, dead_letters: DeadLetters, letter: DeadLetter, done: HandledDeadLetters) -> None:
    hint = letter.hint
    if hint is not None:
        fields = {"session": hint.session_id, "bundle": hint.bundle_id, "redrives": letter.redrives}
        _log.warning("a dead letter", extra=fields)
    if hint is None:
        done.dropped += 1
    elif letter.redrives < MAX_REDRIVES:
        _redrive(plane, dead_letters, letter, done)
        return
    else:
        try:
            has_failed = _fail(plane, hint, letter)
        except IncompatibleGrid:  # it is for agents of a newer release, which may yet come
            _redrive(plane, dead_letters, letter, done)
            return
        done.failed += has_failed
        done.dropped += not has_failed  # done, or leased: the reconciler sends it again if it lapses
    with_retries(plane, lambda: dead_letters.delete([letter]))


def _redrive(plane: Plane, dead_letters: DeadLetters, letter: DeadLetter, done: HandledDeadLetters) -> None:
    with_retries(plane, lambda: dead_letters.redrive([letter]))
    done.redriven += 1


def _fail(plane: Plane, hint: Hint, letter: DeadLetter) -> bool:
    """End the tasks of a bundle that nobody could deal with; False if there is nothing to end here."""
    message = Message(hint, letter.receipt)
    try:
        work = claim(plane, message, agent_id=ACTOR, lease_seconds=LEASE_SECONDS, spec_of=SessionRecord.parsed_spec)
    except CorruptPayload as error:
        return end_unreadable(plane, hint.session_id, error, ACTOR)
    if work is None:
        return False
    text = (
        f"bundle {hint.bundle_id} was delivered to agents again and again, and none of them finished with it; "
        f"its message was taken out of the dead-letter queue of pool {letter.pool!r} {letter.redrives + 1} times"
    )
    outcomes, payload, now = Outcomes(), encode_error(TaskError("DeadLettered", text)), plane.clock.now()
    for index in work.bundle.indexes:
        outcomes.append(Outcome(index, True, work.bundle.attempt(index), now, 0.0, payload, "", ""))
    commit(plane, work, outcomes, (), None)
    return True
