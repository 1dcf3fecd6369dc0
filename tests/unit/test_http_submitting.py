"""What a client over HTTP asks for, one after the other, to submit a session."""

from __future__ import annotations

import time
from dataclasses import replace

import orjson
import pytest

from htcgrid_core.codecs.submission import Submission
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import AccessDenied, GridError, GridUnavailable
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import Counters, SessionRecord, SessionSpec
from htcgrid_core.gateway.http import submitting
from htcgrid_core.gateway.http.asks import Ask
from htcgrid_core.gateway.http.direct_parts import DirectPut
from htcgrid_core.gateway.http.submitting import PART_BYTES, SEAL_AGAIN_SECONDS, steps

SPEC = SessionSpec.model_validate({"function": {"name": "any.handler"}})
SUBMISSION = Submission("s-0123456789abcdef", SPEC)
ACKNOWLEDGED = SessionRecord(
    SUBMISSION.session_id, SessionState.RUNNING, SPEC.text, "", Counters(total=1), 1.0, 1.0, bundles=1
)
OPEN = replace(ACKNOWLEDGED, bundles=-1)


def asked(events: list[bytes], *answers: SessionRecord) -> list[str]:
    """Methods and last parts of the paths of what is asked for, with these answers to what has one."""
    taken = steps(SUBMISSION, events, None)
    told = iter(answers)
    found: list[str] = []
    answer: SessionRecord | None = None
    while True:
        try:
            ask, _ = taken.send(answer)
        except StopIteration:
            return found
        assert isinstance(ask, Ask)
        found.append(f"{ask.method} {ask.target.rpartition('/')[2]}")
        answer = None if ask.method == "PUT" else next(told)


def test_few_events_are_one_request() -> None:
    assert asked([], ACKNOWLEDGED) == ["POST sessions"]
    assert asked([b"1", b"x" * (PART_BYTES - 1)], ACKNOWLEDGED) == ["POST sessions"]


@pytest.mark.parametrize("size", [PART_BYTES + 1, limits.MAX_EVENT_BYTES])
def test_one_event_that_a_request_with_a_session_does_not_hold_is_a_part(size: int) -> None:
    assert asked([b"x" * size], OPEN, ACKNOWLEDGED) == ["POST sessions", "PUT 0", "POST seal"]


def test_a_server_that_answers_at_once_is_not_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(time, "monotonic", lambda: 7.0)
    found = asked([b"x" * (PART_BYTES + 1)], OPEN, OPEN, OPEN, ACKNOWLEDGED)
    assert found[2:] == ["POST seal"] * 3
    assert pauses == [SEAL_AGAIN_SECONDS] * 2


# Parts that go past the server


def way_of(*put: GridError | None) -> list[str]:
    """How five large events are sent by steps that may go past the server, with these answers to what is put."""
    taken = steps(SUBMISSION, [b"x" * PART_BYTES] * 5, None, takes_parts=True)
    told, found = list(put), list[str]()
    step, _ = next(taken)
    while True:
        if isinstance(step, DirectPut):
            found.append("put")
            error = told.pop(0) if told else None
            step, _ = taken.throw(error) if error else taken.send(None)
            continue
        name = f"{step.method} {step.target.rpartition('/')[2]}"
        found.append(name)
        answer: object = ACKNOWLEDGED if name.endswith(("sessions", "seal")) else None
        if name == "POST parts":
            asked_for = orjson.loads(step.body or b"")["parts"][0]
            answer = DirectPut("https://storage.example/part?signature", {}, b"")
            assert asked_for["bytes"] > PART_BYTES
        try:
            step, _ = taken.send(answer)
        except StopIteration:
            return found


@pytest.fixture
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "LARGE_FROM_BYTES", 2 * PART_BYTES)
    monkeypatch.setattr(submitting, "LARGE_TIMES", 1)


@pytest.mark.usefixtures("sooner")
def test_what_is_behind_the_first_parts_goes_past_the_server() -> None:
    past = ["POST parts", "put"]
    assert way_of() == ["POST sessions", "PUT 0", "PUT 1", *past, *past, *past, "POST seal"]


@pytest.mark.usefixtures("sooner")
def test_a_url_that_has_expired_is_asked_for_again() -> None:
    past = ["POST parts", "put"]
    expired = AccessDenied("expired")
    assert way_of(expired) == ["POST sessions", "PUT 0", "PUT 1", *past, *past, *past, *past, "POST seal"]


@pytest.mark.usefixtures("sooner")
@pytest.mark.parametrize("errors", [[GridUnavailable("no route")], [AccessDenied("no"), AccessDenied("no")]], ids=str)
def test_storage_that_cannot_be_reached_is_left_alone(errors: list[GridError]) -> None:
    tried = ["POST parts", "put"] * len(errors)
    assert way_of(*errors) == ["POST sessions", "PUT 0", "PUT 1", *tried, "PUT 2", "PUT 3", "PUT 4", "POST seal"]


def test_parts_are_the_same_whichever_way_they_go() -> None:
    """So that a client which sends them again, another way, sends the same numbers with the same events."""
    events = [b"x" * (PART_BYTES // 3)] * 200
    sizes = [batch.size for batch in submitting.batches(events)]
    assert max(sizes[:9]) <= PART_BYTES < max(sizes) <= PART_BYTES * submitting.LARGE_TIMES
    assert sum(sizes) == sum(map(len, events))
