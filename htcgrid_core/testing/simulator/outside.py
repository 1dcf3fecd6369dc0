"""Those outside of the simulated grid who are told of sessions' ends: tasks of Step Functions, and a queue."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.ports.messenger import Answer, Heard
from htcgrid_core.testing.simulator.faults import FaultyPort
from htcgrid_core.testing.simulator.invariants import Violated
from htcgrid_core.testing.simulator.world import World

QUEUE, MARK = "queue", 50
OVER = Answer(Heard.NEVER, "TaskTimedOut")


@dataclass
class Task:
    """A task of Step Functions.

    Attributes:
        stops_at: when its execution is stopped; infinity for never.
        ended_as: the state that it was told.
    """

    session_id: str
    stops_at: float
    ended_as: str = ""


@dataclass
class Outside:
    """Hears what is told, and checks S13 at each word: after the end, and one outcome for each id."""

    world: World
    database: Database
    tasks: dict[str, Task] = field(default_factory=dict)
    heard: dict[str, dict[str, Any]] = field(default_factory=dict)
    times: int = 0

    def new_task(self, session_id: str, stops_at: float) -> str:
        """A task that waits for a session, in the place of the one before: its token."""
        for task in self.tasks.values():
            if task.session_id == session_id:
                task.stops_at = min(task.stops_at, self.world.now)
        token = f"token-{len(self.tasks)}"
        self.tasks[token] = Task(session_id, stops_at)
        return token

    def waits(self, token: str) -> bool:
        """Whether a task goes on."""
        task = self.tasks.get(token)
        return task is not None and not task.ended_as and self.world.now < task.stops_at

    # The port

    def beat(self, token: str) -> Answer:
        """SendTaskHeartbeat."""
        return Answer(Heard.YES) if self.waits(token) else OVER

    def end_task(self, token: str, data: dict[str, Any]) -> Answer:
        """SendTaskSuccess or SendTaskFailure."""
        if not self.waits(token):
            return OVER
        task = self.tasks[token]
        if task.session_id != data["session"]:
            raise Violated(f"S13: the task of {task.session_id} was told of {data['session']}")
        self._check(data)
        task.ended_as = data["state"]
        return Answer(Heard.YES)

    def send(self, destination: Destination, events: Sequence[dict[str, Any]], now: float) -> list[Answer]:
        """Messages in the queue."""
        for event in events:
            data = event["data"]
            if event["type"].endswith(".progress"):
                self._check_mark(data)
            else:
                self._check(data)
            self.times += 1
            before = self.heard.setdefault(event["id"], data)
            if before != data:
                raise Violated(f"S13: {event['id']} was told as {before} and as {data}")
        return [Answer(Heard.YES)] * len(events)

    def _check(self, data: dict[str, Any]) -> None:
        """What is told is what the row says, which it says for ever; but of an earlier try, that was aborted."""
        row = (
            self.database.connection()
            .execute(
                "SELECT submitted_at, state, total, completed, failed, cancelled FROM sessions WHERE id = ?",
                (data["session"],),
            )
            .fetchone()
        )
        told = (data["state"], data["total"], data["completed"], data["failed"], data["cancelled"])
        may_be_earlier = data["state"] == SessionState.CANCELLED and data["submitted_at"] != row[0]
        if told != row[1:] and not may_be_earlier:
            raise Violated(f"S13: {data['session']} is {row[1:]} and was told as {told}")

    def _check_mark(self, data: dict[str, Any]) -> None:
        """What is told of progress was true, and still is: counters only grow."""
        row = (
            self.database.connection()
            .execute("SELECT submitted_at, completed, failed FROM sessions WHERE id = ?", (data["session"],))
            .fetchone()
        )
        told = (data["completed"], data["failed"])
        is_at = sum(told) * 100 >= MARK * data["total"]
        if data["submitted_at"] == row[0] and not (is_at and told[0] <= row[1] and told[1] <= row[2]):
            raise Violated(f"S13: {data['session']} has {row[1:]} and was told to be at {data}")

    def check_end(self, session_id: str, token: str, connection: sqlite3.Connection) -> None:
        """After the settle time: an ended session's recipients have been told its state."""
        (state,) = connection.execute("SELECT state FROM sessions WHERE id = ?", (session_id,)).fetchone()
        heard = [data for data in self.heard.values() if data["session"] == session_id]
        if not any(data["state"] == state for data in heard if "mark" not in data):
            raise Violated(f"S13: {session_id} is {state}, and the queue was not told")
        if state == SessionState.COMPLETED and not any(data.get("mark") == MARK for data in heard):
            raise Violated(f"S13: {session_id} is {state}, and the queue was not told that it came to {MARK} %")
        task = self.tasks[token]
        if task.stops_at > self.world.now and task.ended_as != state:
            raise Violated(f"S13: {session_id} is {state}, and its task was told {task.ended_as or 'nothing'}")


class FaultyMessenger:
    """A messenger whose calls may fail as the rates say; to its caller that is an answer like others."""

    def __init__(self, port: FaultyPort) -> None:
        self._port = port

    def beat(self, token: str) -> Answer:
        """See the port."""
        return self._ask(1, "beat", token)[0]

    def end_task(self, token: str, data: dict[str, Any]) -> Answer:
        """See the port."""
        return self._ask(1, "end_task", token, json.loads(json.dumps(data)))[0]

    def send(self, destination: Destination, events: Sequence[dict[str, Any]], now: float) -> list[Answer]:
        """See the port."""
        return self._ask(len(events), "send", destination, json.loads(json.dumps(list(events))), now)

    def _ask(self, count: int, method: str, *args: Any) -> list[Answer]:
        try:
            answer = getattr(self._port, method)(*args)
        except GridUnavailable as error:
            return [Answer(Heard.LATER, str(error))] * count
        return answer if isinstance(answer, list) else [answer]
