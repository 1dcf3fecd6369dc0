"""What becomes of a task of Step Functions that waits for a session: the cases of the test that shows each."""

from __future__ import annotations

from tests.unit.test_step_functions import TABLE


def table() -> str:
    """One row a case."""
    rows = ["| what happens | the session ends | the task is told | the outbox says |", "|---|---|---|---|"]
    rows += [
        f"| {happens.__name__.replace('_', ' ')} | {end} | {told} | {row} |"
        for happens, (end, told, row) in TABLE.items()
    ]
    return "\n".join(rows)
