"""What a task of Step Functions that waits for a session is told: one table, over a stub with AWS's codes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from htcgrid_core import StepFunctionsTask
from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.messenger import AwsMessenger
from htcgrid_core.adapters.aws.settings import AwsSettings
from htcgrid_core.client.session import Session
from htcgrid_core.domain.errors import InvalidInput, SessionConflict
from htcgrid_core.domain.notification import Notification
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.session_event import cause_text
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import telling
from htcgrid_core.services.reconcile import reconcile
from tests.aws.step_functions import StepFunctions, step_functions
from tests.faults import Crash, Watched
from tests.manual_agent import finish
from tests.planes import ManualClock, memory_plane, still_grid

ONCE = RetryPolicy(max_attempts=1)
TOKEN = "AQCEAAAAKgAAAAMAAAAAAAAAAd"


@dataclass
class Case:
    """A grid whose agents and reconciler are the test itself, and the service that it tells."""

    plane: Plane
    clock: ManualClock
    service: StepFunctions
    tokens: list[str] = field(default_factory=list)

    def submit(self, count: int = 3, *, task: str = TOKEN, **options: Any) -> Session:
        self.tokens.append(task)
        self.service.task(task)
        notify = StepFunctionsTask(task)
        return still_grid(self.plane).submit("math.sqrt", range(count), retry=ONCE, notify=notify, **options)

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.pass_(seconds)
        reconcile(self.plane, 10.0)
        telling.tell_all(self.plane)

    def row(self, session: Session) -> Notification:
        (found,) = self.plane.outbox.of(session.id)
        return found

    def dying(self, *, applied: bool) -> Plane:
        """A process that dies at its first message, before or after it is heard."""

        def die(name: str, call: Callable[[], Any]) -> Any:
            if applied:
                call()
            raise Crash

        return replace(self.plane, messenger=Watched(self.plane.messenger, die))


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    clock = ManualClock()
    with step_functions() as service:
        keys = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="eu-west-1")
        clients = Clients(AwsSettings(region="eu-west-1", endpoint=service.url), keys)
        plane = replace(memory_plane(tmp_path, clock=clock), messenger=AwsMessenger(clients))
        yield Case(plane, clock, service)


def _good(event: Any) -> Any:
    return event


def _bad(event: Any) -> Any:
    raise ValueError(f"no {event}")


def _bad_one(event: Any) -> Any:
    return _bad(event) if event == 1 else event


def success(case: Case) -> Session:
    session = case.submit()
    finish(case.plane, _good)
    case.tick()
    return session


def tolerated_failures(case: Case) -> Session:
    session = case.submit(max_failures=1)
    finish(case.plane, _bad_one)
    case.tick()
    return session


def total_failure(case: Case) -> Session:
    session = case.submit()
    finish(case.plane, _bad)
    case.tick()
    return session


def cancelled_session(case: Case) -> Session:
    session = case.submit()
    session.cancel()
    case.tick()
    return session


def deadline(case: Case) -> Session:
    session = case.submit(timeout=30)
    case.tick(31)
    return session


def heartbeat_lost(case: Case) -> Session:
    """The session goes on, and a heartbeat comes again soon."""
    session = case.submit()
    for instead in ("dropped", "ThrottlingException", "KmsThrottlingException"):
        case.service.instead.append(instead)
        beats = len(case.service.calls)
        case.tick(60)
        assert len(case.service.calls) == beats + 1
        case.tick(10)
        assert len(case.service.calls) == beats + 2
    assert session.progress().state == "RUNNING"
    finish(case.plane, _good)
    case.tick()
    return session


def execution_stopped(case: Case) -> Session:
    session = case.submit()
    case.service.task(TOKEN).is_over = True
    case.tick(60)
    case.tick()
    assert session.progress().state == "CANCELLED"
    return session


def token_expired(case: Case) -> Session:
    """Between the last heartbeat and the end."""
    session = case.submit()
    finish(case.plane, _good)
    case.service.task(TOKEN).is_over = True
    case.tick()
    assert session.progress().state == "COMPLETED"
    return session


def token_replaced(case: Case) -> Session:
    case.submit(token="night")
    session = case.submit(token="night", task="another")
    finish(case.plane, _good)
    case.tick(120)
    return session


def throttled_20_times(case: Case) -> Session:
    session = case.submit()
    finish(case.plane, _good)
    case.service.instead.extend(["ThrottlingException"] * 20)
    for _ in range(30):
        case.tick(75)
    return session


def output_too_large(case: Case) -> Session:
    labels = {f"label {number:02d}".ljust(256, "ü"): "ü" * 256 for number in range(32)}
    session = case.submit(labels=labels, name="ü" * 256)

    def fail(event: Any) -> Any:
        raise ValueError("ü" * 100_000)

    finish(case.plane, fail)
    case.tick()
    return session


def killed_before_the_send(case: Case) -> Session:
    session = case.submit()
    finish(case.plane, _good)
    with pytest.raises(Crash):
        telling.tell_all(case.dying(applied=False))
    case.tick()
    assert case.service.task(TOKEN).told is None, "it is somebody's, for a while"
    case.tick(telling.CLAIM_SECONDS)
    return session


def killed_after_the_send(case: Case) -> Session:
    session = case.submit()
    finish(case.plane, _good)
    with pytest.raises(Crash):
        telling.tell_all(case.dying(applied=True))
    case.tick(telling.CLAIM_SECONDS)
    return session


def answer_lost(case: Case) -> Session:
    session = case.submit()
    finish(case.plane, _good)
    case.service.instead.append("dropped")
    case.tick()
    case.tick(10)
    return session


# What happens: the session's end, what the task was told, the row of the outbox. `python -m tools.docs` writes it to
# docs/step-functions.md.
TABLE: dict[Callable[[Case], Session], tuple[str, str, str]] = {
    success: ("COMPLETED", "success", "DELIVERED"),
    tolerated_failures: ("COMPLETED", "success", "DELIVERED"),
    total_failure: ("FAILED", "HTCGrid.SessionFailed", "DELIVERED"),
    cancelled_session: ("CANCELLED", "HTCGrid.Cancelled", "DELIVERED"),
    deadline: ("FAILED", "HTCGrid.DeadlineExceeded", "DELIVERED"),
    heartbeat_lost: ("COMPLETED", "success", "DELIVERED"),
    execution_stopped: ("CANCELLED", "nothing", "REFUSED: TaskTimedOut"),
    token_expired: ("COMPLETED", "nothing", "REFUSED: TaskTimedOut"),
    token_replaced: ("COMPLETED", "success, the first token nothing", "DELIVERED"),
    throttled_20_times: ("COMPLETED", "success", "DELIVERED"),
    output_too_large: ("FAILED", "HTCGrid.SessionFailed", "DELIVERED"),
    killed_before_the_send: ("COMPLETED", "success", "DELIVERED"),
    killed_after_the_send: ("COMPLETED", "success", "DELIVERED: already reported (TaskTimedOut)"),
    answer_lost: ("COMPLETED", "success", "DELIVERED: already reported (TaskTimedOut)"),
}


@pytest.mark.parametrize("happens", TABLE, ids=lambda happens: happens.__name__)
def test_one_outcome_each(case: Case, happens: Callable[[Case], Session], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "htcgrid_core")
    session = happens(case)
    calls = len([call for call in case.service.calls if call != "SendTaskHeartbeat"])
    told = [case.service.task(token).told for token in case.tokens]
    case.tick(10_000)
    assert len([call for call in case.service.calls if call != "SendTaskHeartbeat"]) == calls, "it is settled"
    row = case.row(session)
    words = ["nothing" if one is None else one[0] for one in told]
    last = words[-1] + ("" if len(words) == 1 else f", the first token {words[0]}")
    settled = f"{row.state}: {row.detail}" if row.detail else str(row.state)
    assert (str(session.progress().state), last, settled) == TABLE[happens]
    data = told[-1][1] if told[-1] else None
    if data is not None:
        progress = session.progress()
        assert (data["session"], data["total"]) == (session.id, progress.total)
        assert (data["completed"], data["failed"]) == (progress.completed, progress.failed)
    assert TOKEN not in caplog.text
    assert all(TOKEN not in text for text in (str(session.notifications()), repr(row), row.detail))


def test_the_first_causes_are_told(case: Case) -> None:
    total_failure(case)
    told = case.service.task(TOKEN).told
    assert told is not None
    assert told[1]["causes"] == [{"index": at, "type": "ValueError", "message": f"no {at}"} for at in range(3)]
    assert told[1]["failed_share"] == 1.0


def test_a_cause_is_cut_to_what_is_taken() -> None:
    data = {"causes": [{"message": "x" * 9000}] * 5, "labels": {"a": "b"}, "reason": "y" * 40_000}
    text = cause_text(data)
    assert len(text) <= 32_768
    assert len(data["causes"]) == 5


def test_a_token_that_is_none_refuses_the_submit(case: Case) -> None:
    with pytest.raises(InvalidInput, match=re.escape("does not wait for it (InvalidToken)")):
        still_grid(case.plane).submit("math.sqrt", [1], notify=StepFunctionsTask("nobody's"))
    assert case.plane.store.live_sessions() == []
    assert case.plane.outbox.pending() == []


def test_the_same_submission_again_is_not_told_again(case: Case) -> None:
    session = case.submit(token="night")
    finish(case.plane, _good)
    case.tick()
    calls = list(case.service.calls)
    assert case.submit(token="night").id == session.id
    case.tick(1000)
    assert case.service.calls == calls


def test_a_new_token_for_a_session_that_has_ended_is_told_at_once(case: Case) -> None:
    case.submit(token="night")
    finish(case.plane, _good)
    case.tick()
    session = case.submit(token="night", task="another")
    assert [case.service.task(token).told for token in (TOKEN, "another")] == [
        ("success", case.service.task(TOKEN).told[1])  # type: ignore[index]
    ] * 2
    assert case.row(session).state == "DELIVERED"


def test_a_conflict_leaves_the_rightful_token(case: Case) -> None:
    session = case.submit(token="night")
    with pytest.raises(SessionConflict):
        case.submit(4, token="night", task="another")
    finish(case.plane, _good)
    case.tick()
    assert case.service.task(TOKEN).told is not None
    assert case.service.task("another").told is None
    assert case.row(session).state == "DELIVERED"


def test_a_heartbeat_of_a_replaced_token_cancels_nothing(case: Case) -> None:
    """It was under way when the token was replaced, and its refusal came after that."""
    session = case.submit(token="night")
    case.service.task(TOKEN).is_over = True

    def replaced_meanwhile(name: str, call: Callable[[], Any]) -> Any:
        case.submit(token="night", task="another")
        return call()

    slow = replace(case.plane, messenger=Watched(case.plane.messenger, replaced_meanwhile))
    case.clock.pass_(60)
    telling.tell_all(slow)
    case.tick(10)
    assert session.progress().state == "RUNNING"
    finish(case.plane, _good)
    case.tick()
    assert case.service.task("another").told is not None


@pytest.mark.parametrize("call", range(1, 5))
def test_who_dies_while_it_cancels_leaves_it_to_the_next(case: Case, call: int) -> None:
    """After the refused heartbeat: at each of the writes that follow."""
    session = case.submit()
    case.service.task(TOKEN).is_over = True
    case.clock.pass_(60)
    count = 0

    def die(name: str, write: Callable[[], Any]) -> Any:
        nonlocal count
        if name in ("replace", "advance"):
            count += 1
            if count == call:
                raise Crash
        return write()

    dying = replace(case.plane, store=Watched(case.plane.store, die), outbox=Watched(case.plane.outbox, die))
    with contextlib.suppress(Crash):
        telling.tell_all(dying)
    for _ in range(3):
        case.tick(60)
    assert session.progress().state == "CANCELLED"
    assert case.row(session).state == "REFUSED"


def test_calls_a_session(case: Case) -> None:
    """Beside heartbeats, of which a short session has one: its first."""
    sessions = [case.submit(1, task=f"task-{number}") for number in range(20)]
    finish(case.plane, _good)
    case.tick()
    case.tick(10)
    assert {str(case.row(session).state) for session in sessions} == {"DELIVERED"}
    assert case.service.calls.count("SendTaskHeartbeat") == 20
    assert len(case.service.calls) == 40


def test_what_is_no_token() -> None:
    for wrong in ("", "x" * 2049, None):
        with pytest.raises(InvalidInput, match="task token"):
            StepFunctionsTask(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="heartbeat_seconds"):
        StepFunctionsTask("x", heartbeat_seconds=float("nan"))
