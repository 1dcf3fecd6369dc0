"""What destinations are told besides a session's end, and by whom: marks of progress, batches, who comes later."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from htcgrid_core import InvalidInput, RetryPolicy, Session, SessionNotFound, StepFunctionsTask
from htcgrid_core.adapters.prometheus import PrometheusMetrics
from htcgrid_core.agent.teller import Teller
from htcgrid_core.domain import metrics
from htcgrid_core.domain.destination import MARKS, Destination
from htcgrid_core.domain.notification import Recipient
from htcgrid_core.ports.messenger import Answer, Heard
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import telling
from htcgrid_core.services.reconcile import reconcile
from tests.faults import Crash, Watched, calls_of
from tests.manual_agent import finish, work_on
from tests.planes import ManualClock, memory_plane, plane_of, still_grid

ARN = "arn:aws:sqs:eu-west-1:123456789012:night"


@dataclass
class Heeding:
    """A messenger that keeps what it is told.

    Attributes:
        requests: the events of each.
        answers: of the next requests, for all of their events; the last one stays.
    """

    requests: list[list[dict[str, Any]]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=lambda: [Answer(Heard.YES)])
    ended: list[tuple[str, str]] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for events in self.requests for event in events]

    def beat(self, token: str) -> Answer:
        return Answer(Heard.YES)

    def end_task(self, token: str, data: dict[str, Any]) -> Answer:
        self.ended.append((token, data["state"]))
        return Answer(Heard.YES)

    def send(self, destination: Destination, events: Sequence[dict[str, Any]], now: float) -> list[Answer]:
        self.requests.append([dict(event) for event in events])
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [answer] * len(events)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def messenger() -> Heeding:
    return Heeding()


@pytest.fixture
def plane(tmp_path: Path, clock: ManualClock, messenger: Heeding) -> Plane:
    found = replace(memory_plane(tmp_path, clock=clock), messenger=messenger)
    found.outbox.put_destination(Destination(name="night", target=ARN, progress=(25, 50, 75)))
    found.outbox.put_destination(Destination(name="quiet", target=ARN))
    return found


def _good(event: Any) -> Any:
    return event


def _bad(event: Any) -> Any:
    raise ValueError(event)


def _submit(plane: Plane, tasks: int = 8, **options: Any) -> Session:
    given = {"notify": "night", "bundle_size": 1, "retry": RetryPolicy(max_attempts=1), **options}
    return still_grid(plane).submit("math.sqrt", range(tasks), **given)


def _tick(plane: Plane) -> None:
    reconcile(plane, 10.0)
    telling.tell_all(plane)


def _marks(messenger: Heeding) -> list[int | None]:
    return [event["data"].get("mark") for event in messenger.events]


def _states(session: Session) -> dict[str, str]:
    return {row.to: str(row.state) for row in session.notifications()}


class TestMarks:
    def test_each_when_it_is_reached(self, plane: Plane, messenger: Heeding) -> None:
        session = _submit(plane)
        seen = []
        for _ in range(8):
            work_on(plane, _good, bundles=1)
            _tick(plane)
            seen.append(_marks(messenger))
        assert seen == [
            [], [25], [25], [25, 50], [25, 50], [25, 50, 75], [25, 50, 75], [25, 50, 75, None],
        ]  # fmt: skip
        first = messenger.events[0]
        assert (first["type"], first["subject"]) == ("htcgrid.session.progress", session.id)
        assert (first["data"]["completed"], first["data"]["total"], first["data"]["state"]) == (2, 8, "RUNNING")
        assert set(_states(session).values()) == {"DELIVERED"}
        assert len({event["id"] for event in messenger.events}) == 4

    def test_several_at_once_are_all_told(self, plane: Plane, messenger: Heeding) -> None:
        """In one request; also if the session is over by then."""
        _submit(plane)
        work_on(plane, _good, bundles=5)
        _tick(plane)
        assert [[event["data"]["mark"] for event in events] for events in messenger.requests] == [[25, 50]]
        _submit(plane)
        finish(plane, _good)
        _tick(plane)
        assert sorted(_marks(messenger)[2:], key=str) == [25, 50, 75, 75, None, None]

    def test_what_is_not_reached_is_not_told(self, plane: Plane, messenger: Heeding) -> None:
        session = _submit(plane)
        work_on(plane, _good, bundles=2)
        session.cancel()
        _tick(plane)
        assert _marks(messenger) == [None, 25]
        assert _states(session) == {
            "night": "DELIVERED", "night@25": "DELIVERED", "night@50": "UNREACHED", "night@75": "UNREACHED",
        }  # fmt: skip

    def test_failed_tasks_count(self, plane: Plane, messenger: Heeding) -> None:
        _submit(plane)
        work_on(plane, _bad, bundles=4)
        _tick(plane)
        assert _marks(messenger) == [25, 50]

    def test_one_event_however_often_it_is_told(self, plane: Plane, messenger: Heeding, clock: ManualClock) -> None:
        """Though more tasks have ended by the time of the second try."""
        messenger.answers = [Answer(Heard.LATER), Answer(Heard.YES)]
        _submit(plane)
        work_on(plane, _good, bundles=2)
        _tick(plane)
        work_on(plane, _good, bundles=1)
        clock.pass_(60)
        _tick(plane)
        first, again = messenger.events
        assert first == again

    def test_whoever_dies_leaves_it_to_the_next(self, plane: Plane, messenger: Heeding, clock: ManualClock) -> None:
        _submit(plane)
        work_on(plane, _good, bundles=2)

        def die(name: str, call: Callable[[], Any]) -> Any:
            call()
            raise Crash

        with pytest.raises(Crash):
            telling.tell_all(replace(plane, messenger=Watched(messenger, die)))
        work_on(plane, _good, bundles=1)
        clock.pass_(telling.CLAIM_SECONDS)
        _tick(plane)
        first, again = messenger.events
        assert first == again

    def test_commits_cost_no_call_more(self, plane: Plane) -> None:
        """A bundle of a session with marks, beside one of a session that nobody is told of."""
        _submit(plane, notify=None)
        without = calls_of(plane, lambda watched: work_on(watched, _good, bundles=1))
        finish(plane, _good)
        _submit(plane)
        assert calls_of(plane, lambda watched: work_on(watched, _good, bundles=1)) == without

    def test_what_is_no_mark(self) -> None:
        for wrong in ((0,), (100,), (50, 25), (25, 25), tuple(range(1, MARKS + 2))):
            with pytest.raises(ValidationError):
                Destination(name="night", target=ARN, progress=wrong)


class TestTogether:
    def test_sessions_that_end_at_once_share_requests(self, plane: Plane, messenger: Heeding) -> None:
        sessions = [_submit(plane, 1, notify="quiet") for _ in range(25)]
        finish(plane, _good)
        telling.tell_all(plane)
        assert [len(events) for events in messenger.requests] == [10, 10, 5]
        assert {event["subject"] for event in messenger.events} == {session.id for session in sessions}

    def test_one_that_is_refused_keeps_no_other(self, plane: Plane) -> None:
        """Of a request's events some are heard and some are not."""

        class Partly(Heeding):
            def send(self, destination: Destination, events: Sequence[dict[str, Any]], now: float) -> list[Answer]:
                heard = super().send(destination, events, now)
                return [Answer(Heard.NEVER, "too large"), Answer(Heard.LATER, "busy"), *heard[2:]]

        partly = replace(plane, messenger=Partly())
        sessions = [_submit(partly, 1, notify="quiet") for _ in range(4)]
        finish(partly, _good)
        telling.tell_all(partly)
        states = sorted(_states(session)["quiet"] for session in sessions)
        assert states == ["DELIVERED", "DELIVERED", "PENDING", "REFUSED"]

    def test_ends_that_come_while_others_are_told(self, plane: Plane, messenger: Heeding) -> None:
        """An agent's teller gathers them."""
        sessions = [_submit(plane, 1, notify="quiet") for _ in range(40)]
        finish(plane, _good)
        teller = Teller(plane)
        for session in sessions:
            teller.ended(plane.store.session(session.id, plane.clock.now()))
        teller.tell_all()
        teller.close()
        telling.tell_all(plane)
        assert {_states(session)["quiet"] for session in sessions} == {"DELIVERED"}
        assert len({event["id"] for event in messenger.events}) == 40


class TestWhoComesLater:
    def test_resubmitting(self, plane: Plane, messenger: Heeding) -> None:
        """Those who were told of the first are not told of the second, unless they are named again."""
        parent = _submit(plane, 2, notify="quiet")
        finish(plane, _bad)
        _tick(plane)
        grid = still_grid(plane)
        silent = grid.resubmit(parent)
        child = grid.resubmit(parent, notify=["night", StepFunctionsTask("task")])
        finish(plane, _good)
        _tick(plane)
        assert silent.notifications() == []
        assert _states(child) == dict.fromkeys(
            ["night", "night@25", "night@50", "night@75", "step-functions"], "DELIVERED"
        )
        assert messenger.ended == [("task", "COMPLETED")]
        assert child.spec.notify == ("night", "step-functions")
        with pytest.raises(InvalidInput, match="'nobody' is not registered"):
            grid.resubmit(parent, notify="nobody")

    def test_adopting_one_that_runs(self, plane: Plane, messenger: Heeding) -> None:
        """It is told, though whoever submitted it had named nobody."""
        session = _submit(plane, 1, notify=None)
        session.adopt("the next attempt", notify=["quiet", StepFunctionsTask("task")])
        finish(plane, _good)
        _tick(plane)
        assert _states(session) == {"quiet": "DELIVERED", "step-functions": "DELIVERED"}
        assert messenger.ended == [("task", "COMPLETED")]

    def test_adopting_takes_the_place_of_the_task_before(self, plane: Plane, messenger: Heeding) -> None:
        session = _submit(plane, 1, notify=StepFunctionsTask("first"))
        session.adopt("the next attempt", notify=StepFunctionsTask("second"))
        finish(plane, _good)
        _tick(plane)
        assert messenger.ended == [("second", "COMPLETED")]

    def test_adopting_one_that_has_ended(self, plane: Plane, messenger: Heeding) -> None:
        """At once: nobody else may come by soon."""
        session = _submit(plane, 1, notify=None)
        finish(plane, _good)
        session.adopt("late", notify="quiet")
        assert [event["subject"] for event in messenger.events] == [session.id]

    def test_adopting_what_is_not_there(self, plane: Plane) -> None:
        session = _submit(plane, 1, notify=None)
        with pytest.raises(InvalidInput, match="'nobody' is not registered"):
            session.adopt("me", notify="nobody")
        unknown = "s-0123456789abcdef01234567"
        with pytest.raises(SessionNotFound):
            still_grid(plane).gateway.adopt(unknown, "me", notify=[Recipient("quiet")])
        assert [str(row.state) for row in plane.outbox.of(unknown)] == ["REFUSED"]
        assert plane_of(still_grid(plane)).outbox.of(session.id) == []


def test_what_comes_of_it_is_counted_and_said(
    plane: Plane, messenger: Heeding, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """For the alarms messages-late and messages-refused."""
    count = PrometheusMetrics("book", "default")
    plane = replace(plane, metrics=count)
    messenger.answers = [Answer(Heard.LATER, "throttled"), Answer(Heard.YES), Answer(Heard.NEVER, "no such queue")]
    with caplog.at_level(logging.INFO, telling.__name__):
        for _ in range(2):
            _submit(plane, notify="quiet")
            finish(plane, _good)
            for _ in range(2):
                _tick(plane)
                clock.pass_(120.0)
    page = count.page()[1].decode()
    assert [
        f'htcgrid_told_total{{grid="book",outcome="{outcome}",pool="default"}} 1.0' in page
        for outcome in metrics.TOLD.labels["outcome"]
    ] == [True] * 3, page
    assert telling.SETTLED % "REFUSED" in caplog.messages
