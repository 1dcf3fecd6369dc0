"""What the task log says of a session: progress while it runs, and at the end a table of the first failures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from htcgrid_core import Progress, Session, TaskError, TaskFailed, printable, printable_line

FAILURES_SHOWN = 10
TRACEBACKS_SHOWN = 3
MESSAGE_CHARACTERS = 160
CANCELLED = TaskError("Cancelled", "its session ended before it did")


def progress_line(progress: Progress) -> str:
    """One line: state, share and counts."""
    ended = progress.total - progress.pending
    share = f"{100 * ended / progress.total:.1f}%" if progress.total else "no tasks"
    parts = [f"{progress.completed:,} completed", f"{progress.pending:,} pending"]
    parts += [f"{progress.failed:,} failed"] * bool(progress.failed)
    parts += [f"{progress.cancelled:,} cancelled"] * bool(progress.cancelled)
    line = f"Session {progress.session_id} {progress.state}: {share} of {progress.total:,} tasks ({', '.join(parts)})"
    return printable_line(f"{line}: {progress.reason}" if progress.reason else line)


def first_failures(session: Session, count: int = FAILURES_SHOWN) -> list[TaskFailed]:
    """The first tasks to fail, by their indexes in the whole vector."""
    return sorted(islice(_failures(session), count), key=lambda failure: failure.index)


def _failures(session: Session) -> Iterator[TaskFailed]:
    if session.spec.parent_id is None:
        for task in session.tasks("FAILED"):
            yield TaskFailed(session.id, task.index, task.error or CANCELLED)
        return
    for result in session.results(errors="return"):  # only there are the parents' indexes
        if isinstance(result, TaskFailed) and result.error.type != CANCELLED.type:
            yield result


def failure_table(failures: list[TaskFailed], failed: int) -> str:
    """Index, error and message of each, then the first tracebacks."""
    lines = [f"First {len(failures):,} of {failed:,} failed tasks:", f"{'index':>9}  {'error':<24}  message"]
    for failure in failures:
        message = printable_line(" ".join(failure.error.message.split()))
        if len(message) > MESSAGE_CHARACTERS:
            message = f"{message[: MESSAGE_CHARACTERS - 3]}..."
        lines.append(f"{failure.index:>9}  {printable_line(failure.error.type):<24}  {message}".rstrip())
    for failure in [f for f in failures if f.error.traceback][:TRACEBACKS_SHOWN]:
        lines += ["", f"Task {failure.index}:", printable(failure.error.traceback.rstrip())]
    return "\n".join(lines)
