"""Those who are told of a chaos run, badly behaved; and that each was told once, and the truth (S13)."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from htcgrid_core import Session, StepFunctionsTask
from htcgrid_core.ports.clock import Clock
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.telling import tell_all
from tests.aws.step_functions import StepFunctions, step_functions

DESK, MARK = "desk", 50
HEARTBEAT_SECONDS = 10.0
TROUBLE = 0.3  # share of what is told that is answered badly
ROUNDS, ROUND_SECONDS = 30, 7200.0  # of the last reconciler, which is hours ahead of the tellers that died
ERRORS = {"COMPLETED": "success", "FAILED": "HTCGrid.SessionFailed", "CANCELLED": "HTCGrid.Cancelled"}


def notify_of(token: str) -> list[str | StepFunctionsTask]:
    """Whom a session names: the desk, and a task of its own."""
    return [DESK, StepFunctionsTask(f"task-{token}", heartbeat_seconds=HEARTBEAT_SECONDS)]


@dataclass
class Ahead:
    """A wall clock that is ahead, so that nobody has to wait until what a dead teller claimed is due again."""

    clock: Clock
    seconds: float = 0.0

    def now(self) -> float:
        """Later."""
        return self.clock.now() + self.seconds

    def monotonic(self) -> float:
        """As ever."""
        return self.clock.monotonic()

    def sleep(self, seconds: float) -> None:
        """As ever."""
        self.clock.sleep(seconds)


@dataclass
class Audience:
    """What was heard.

    Attributes:
        tasks: of Step Functions.
        heard: what the desk was told, by event.
        done: how often who misbehaved how.
    """

    tasks: StepFunctions
    rng: random.Random
    heard: defaultdict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    done: Counter[str] = field(default_factory=Counter)
    is_calm: bool = False

    def hear(self, body: str | bytes) -> None:
        """The desk is told something."""
        event = json.loads(body)
        self.heard[event["id"]].append(event)

    def trouble(self, *kinds: str) -> str:
        """What goes wrong with this call; nothing, mostly."""
        if self.is_calm or self.rng.random() >= TROUBLE:
            return ""
        kind = self.rng.choice(kinds)
        self.done[kind] += 1
        return kind

    def settle(self, plane: Plane) -> None:
        """Tell what is left, as a reconciler does that comes by hours later."""
        self.is_calm = True
        clock = Ahead(plane.clock)
        later = replace(plane, clock=clock)
        for _ in range(ROUNDS):
            if not plane.outbox.pending():
                return
            clock.seconds += ROUND_SECONDS
            tell_all(later)
        raise AssertionError(f"untold after {ROUNDS} rounds: {plane.outbox.pending()}")

    def assert_told(self, sessions: Sequence[Session]) -> None:
        """None untold, and none told two different outcomes."""
        by_session: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for event_id, events in self.heard.items():
            assert all(event == events[0] for event in events), f"{event_id} was told as {events}"
            by_session[events[0]["subject"]].append(events[0])
        for session in sessions:
            self._assert_told(session, by_session[session.id])
        told, again = len(self.heard), sum(len(events) - 1 for events in self.heard.values())
        print(f"{told} events were told, {again} of them again; {dict(self.done)}")

    def _assert_told(self, session: Session, events: list[dict[str, Any]]) -> None:
        now = session.progress()
        ends = [event for event in events if not event["type"].endswith(".progress")]
        marks = [event["data"]["mark"] for event in events if event["type"].endswith(".progress")]
        assert [(end["type"], end["data"]["completed"], end["data"]["failed"]) for end in ends] == [
            (f"htcgrid.session.{str(now.state).lower()}", now.completed, now.failed)
        ], f"{session.id} is {now}"
        is_reached = (now.completed + now.failed) * 100 >= MARK * now.total
        assert marks == ([MARK] if is_reached else []), f"{session.id} is {now}"
        rows = {row.to: row for row in session.notifications()}
        assert {row.state for row in rows.values()} <= {"DELIVERED", "UNREACHED"}, rows
        (token,) = [token for token in self.tasks.tasks if token == f"task-{session.labels['token']}"]
        task = self.tasks.tasks[token]
        assert len(task.said) == 1, f"the task of {session.id} was told {task.said}"
        assert task.told is not None
        assert (task.told[0], task.told[1]["session"]) == (ERRORS[now.state], session.id)


@contextmanager
def audience(seed: int) -> Iterator[Audience]:
    """Step Functions, which throttles and loses answers; the desk is whoever calls ``hear``."""
    with step_functions() as service:
        found = Audience(service, random.Random(seed))
        service.accepts_all = True
        service.mood = lambda: found.trouble("ThrottlingException", "dropped")
        yield found


@contextmanager
def webhook(hear: Callable[[bytes], None], trouble: Callable[..., str]) -> Iterator[str]:
    """The desk's address: it may fail before it has heard anything, or after that."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            return

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            how = trouble("refused", "heard and refused", "heard and no answer")
            if how != "refused":
                hear(body)
            if how == "heard and no answer":
                self.close_connection = True
                return
            self.send_response(503 if how else 204)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
