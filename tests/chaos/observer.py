"""What a client sees of a session while it runs, and what is true of it at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from htcgrid_core import Grid, Session, TaskOutcome, TaskState
from htcgrid_core.codecs.tasks import task_of
from htcgrid_core.domain.lifecycle import SESSION, SessionEvent, SessionState
from htcgrid_core.services import results
from tests.chaos.handlers import Event, value_of
from tests.planes import plane_of

ALWAYS_POSSIBLE = (
    "AgentLost"  # agents died with the task as often as is tolerated, which any task may be unlucky to see
)


def comparable(task: TaskOutcome) -> TaskOutcome:
    """Without the exception object: two copies of one exception are not equal."""
    return task if task.error is None else replace(task, error=replace(task.error, exception=None))


class Observed:
    """One session, watched from its submission on.

    Attributes:
        seen: the outcome of each task as it was first seen.
        is_over: whether it was seen to have ended; what is there then is looked at once more, much later.
    """

    def __init__(self, grid: Grid, session: Session, events: list[Event]) -> None:
        self.session = session
        self.events = events
        self.seen: dict[int, TaskOutcome] = {}
        self.is_over = False
        self._grid = grid
        self._cursor = 0

    def look(self) -> bool:
        """Read what was committed since the last look; whether the session has ended."""
        ended = self.session.done()
        for task in self._tasks_after(self._cursor):
            assert task.index not in self.seen, f"a second result of task {task.index} of {self.session.id}"
            self.seen[task.index] = task
        self.is_over = ended
        return ended

    def _tasks_after(self, cursor: int) -> list[TaskOutcome]:
        plane, session, found = plane_of(self._grid), self.session, []
        while pages := results.pages_after(plane, session.id, cursor):
            for page in pages:
                cursor = page.cursor
                outcomes = results.page_outcomes(plane, session.id, session.spec, page)
                assert (page.completed, page.failed) == (len(outcomes) - outcomes.failures, outcomes.failures)
                found += [comparable(task_of(session.spec, outcome, page.agent)) for outcome in outcomes]
        self._cursor = max(self._cursor, cursor)
        return found

    def assert_promises(self) -> None:
        """S1 to S3, S5 and S11, on a session that has ended."""
        self._assert_counted()
        self._assert_results()
        self._assert_history()

    def _assert_counted(self) -> None:
        progress = self.session.progress()
        recount = Counter(task.index for task in self._tasks_after(0))
        assert max(recount.values(), default=1) == 1, f"tasks with two results: {recount.most_common(3)}"
        states = Counter(task.state for task in self.session.tasks())
        assert progress.total == len(self.events) == sum(states.values())
        assert (progress.completed, progress.failed, progress.cancelled) == (
            states[TaskState.COMPLETED],
            states[TaskState.FAILED],
            states[TaskState.CANCELLED],
        )
        assert progress.pending == 0
        assert set(states) <= {TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED}
        assert len(recount) == progress.completed + progress.failed
        assert not plane_of(self._grid).store.open_bundles(self.session.id, "", 10)

    def _assert_results(self) -> None:
        final = {task.index: task for task in self._tasks_after(0)}
        assert {index: self.seen[index] for index in final} == final, "a result has changed"
        for index, task in final.items():
            event: dict[str, Any] = self.events[index]
            if task.state == TaskState.COMPLETED:
                assert event["kind"] != "bad"
                n, value, _ = task.result
                assert (n, value) == (event["n"], value_of(event["n"], event["kind"]))
            else:
                assert task.error is not None
                allowed = {ALWAYS_POSSIBLE, *(["ValueError"] if event["kind"] == "bad" else [])}
                assert task.error.type in allowed, f"a {event['kind']} task ended with {task.error}"

    def _assert_history(self) -> None:
        progress = self.session.progress()
        history = self.session.history()
        state = SessionState.SUBMITTED
        assert (history[0].event, history[0].after) == ("submit", state)
        for entry in history[1:]:
            assert entry.before == state
            state = SESSION.advance(state, SessionEvent(entry.event))  # raises if the lifecycle has no such step
            assert entry.after == state
        assert state == progress.state
        assert SESSION.is_terminal(state)
        if state != SessionState.CANCELLED:
            assert progress.cancelled == 0
            assert (state == SessionState.FAILED) == (progress.failed > 0)
