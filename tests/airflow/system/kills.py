"""A run that is held in its step, what can be seen of it from outside, and the matrix of what was seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from htcgrid_core import Grid, Session
from tests.airflow.system.handlers import GATE
from tests.airflow.system.rest import eventually
from tests.airflow.system.stack import Stack

TASK = "step"
RUN = "r1"
LIVE = {"SUBMITTED", "RUNNING", "CANCELLING"}
MATRIX: list[tuple[str, str, str, str]] = []
"""What was done, the task's state then, the sessions' states, what it says."""


@dataclass(frozen=True)
class Held:
    """One run of a DAG whose session runs until the test opens its gate."""

    stack: Stack
    grid: Grid
    signs: Path
    dag_id: str

    def start(self) -> Held:
        """Start the run."""
        self.stack.api.trigger(self.dag_id, RUN)
        return self

    def sessions(self) -> list[Session]:
        """The step's sessions, oldest first."""
        return [session for session in reversed(self.grid.sessions(limit=1000)) if session.name == self.dag_id]

    def states(self) -> list[str]:
        """Their states."""
        return [str(session.progress().state) for session in self.sessions()]

    def one_lives(self) -> Session:
        """Wait until a session of the step runs tasks; there is no other that lives."""

        def running() -> list[Session]:
            return [session for session in self.sessions() if session.progress().state == "RUNNING"]

        found = eventually(running, lambda: f"a session of {self.dag_id} runs\n{self.log()}")
        live = [state for state in self.states() if state in LIVE]
        assert len(live) == 1, f"{self.dag_id}: {self.states()}"
        return found[0]

    def in_state(self, *states: str) -> None:
        """Wait until the task is in one of these states."""
        try:
            self.stack.api.task_in(self.dag_id, RUN, TASK, *states)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from error

    def waits_in_triggerer(self) -> Session:
        """Wait until its trigger runs: Airflow asks no on_kill of one that its triggerer has not started."""
        self.in_state("deferred")
        session = self.one_lives()
        said = f"Session {session.id} "
        eventually(lambda: self.log().count(said) > 1, lambda: f"the trigger too says {said}\n{self.log()}")
        return session

    def ended(self, *expected: str) -> None:
        """Wait until the step's sessions are in these states, oldest first."""
        eventually(lambda: self.states() == list(expected), lambda: f"{self.states()} become {expected}\n{self.log()}")

    def open_gate(self) -> None:
        """Let its tasks end."""
        (self.signs / self.dag_id / GATE).touch()

    def succeeds(self) -> None:
        """Let its tasks end, and wait for the run's good end."""
        self.open_gate()
        state = self.stack.api.run_ended(self.dag_id, RUN)
        assert state == "success", self.log()

    def log(self) -> str:
        """What the attempts logged."""
        attempts = range(1, 1 + int(self.stack.api.task(self.dag_id, RUN, TASK)["try_number"] or 1))
        return "\n".join(self.stack.api.log(self.dag_id, RUN, TASK, attempt) for attempt in attempts)

    def record(self, done: str, says: str) -> None:
        """A row of the matrix."""
        state = self.stack.api.task(self.dag_id, RUN, TASK)["state"]
        MATRIX.append((done, str(state), ", ".join(self.states()), says))


def matrix_lines(rows: Iterable[tuple[str, str, str, str]]) -> list[str]:
    """The matrix as a table of Markdown."""
    heads = ("what is done", "task", "sessions, oldest first", "so")
    return [f"| {' | '.join(row)} |" for row in (heads, ("---",) * len(heads), *rows)]
