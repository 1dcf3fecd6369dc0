"""``htcgrid logs``: what tasks printed, of one or of a whole session."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import click

from htcgrid_core.cli.exits import Exit, Failure
from htcgrid_core.cli.options import connected, grid_options
from htcgrid_core.cli.output import echo, print_json, say
from htcgrid_core.cli.views import task_view
from htcgrid_core.domain.lifecycle import TASK, TaskState
from htcgrid_core.domain.outcome import TaskOutcome

if TYPE_CHECKING:
    from htcgrid_core.client.session import Session
    from htcgrid_core.codecs.tasks import TaskPage

FOLLOW_SECONDS = 1.0


@click.command(short_help="Print what a task printed, or all tasks of a session.")
@click.argument("session_id", metavar="SESSION")
@click.argument("index", type=click.IntRange(min=0), required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until the task, or the session, has ended.")
@click.option("--raw", is_flag=True, help="As it was printed, whatever a terminal or a CI system makes of it.")
@grid_options
def logs(url: str, as_json: bool, session_id: str, index: int | None, follow: bool, raw: bool) -> None:
    """Print what the last attempt of task INDEX wrote to stdout and stderr, to the same streams, and its traceback.

    Without INDEX, so of all tasks of the session that have ended, in the order of their ends: each line after its
    task's number.

    Control characters are escaped. Of much output, the grid keeps the first and the last part; of an attempt that
    failed and is followed by another one, the last KiB. What a running attempt has printed is known at each heartbeat
    of its agent on local://, and elsewhere once it has ended.
    """
    write: Callable[..., None] = partial(click.echo, color=True) if raw else echo
    with connected(url) as grid:
        session = grid.session(session_id)
        if index is None:
            for task in ended_tasks(session, follow=follow):
                if as_json:
                    print_json(task_view(session.id, task))
                else:
                    tell_lines(task, write)
            return
        total = session.progress().total
        if index >= total:
            raise Failure(f"session {session.id} has {total:,} tasks, numbered from 0: no {index}", Exit.NOT_FOUND)
        told = Told(write)
        task = session.task(index, values=False)
        while follow and not TASK.is_terminal(task.state):
            if not as_json:
                told.tell(task)
            time.sleep(FOLLOW_SECONDS)
            task = session.task(index, values=False)
    if as_json:
        print_json(task_view(session.id, task))
        return
    told.tell(task)
    if not TASK.is_terminal(task.state) and not (task.stdout or task.stderr or task.error):
        say(f"task {index} is {task.state}: what it prints can be read once it has ended")
    elif task.state is TaskState.CANCELLED:
        say(f"task {index} was cancelled; what earlier attempts of it said is not kept")
    elif TASK.is_terminal(task.state) and not (task.stdout or task.stderr or task.error):
        say(f"task {index} is {task.state} and printed nothing")


def ended_tasks(session: Session, *, follow: bool) -> Iterator[TaskOutcome]:
    """Tasks that have ended and said something, as they were committed; with ``follow``, until the session's end."""
    pages = session.pages_until_end() if follow else session.encoded_pages(cursor=0)
    for page in pages:
        yield from spoken(session, page)


def spoken(session: Session, page: TaskPage) -> Iterator[TaskOutcome]:
    """Those tasks of a page that have said something.

    No result is loaded: pickled ones would run code of whoever may submit.
    """
    from htcgrid_core.codecs.tasks import decoded  # it would make every command start slowly

    for task in decoded(session.spec, page, values=False):
        if task.stdout or task.stderr or task.error is not None:
            yield task


def tell_lines(task: TaskOutcome, write: Callable[..., None]) -> None:
    """Print what a task said, each line after its number."""
    error = "" if task.error is None else task.error.traceback or task.error.text
    for text, is_error in ((task.stdout, False), (task.stderr, True), (error, True)):
        for line in text.rstrip("\n").split("\n") if text else ():
            write(f"{task.index}  {line}", err=is_error)


class Told:
    """What was printed of a task, so that nothing is printed twice.

    Args:
        write: to stdout, or to stderr with ``err``.
    """

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write
        self._attempt = (0, False)  # its number, and whether it has ended
        self._texts = ["", ""]

    def tell(self, task: TaskOutcome) -> None:
        """Print what is new of an attempt, and its error once it has failed."""
        is_running = task.state is TaskState.RUNNING
        of_before = is_running and task.error is not None  # the attempt that runs has printed nothing
        attempt = (task.attempts - of_before, not is_running or of_before)
        if attempt[0] > self._attempt[0]:
            self._texts = ["", ""]
        elif attempt[0] < self._attempt[0] or self._attempt[1]:  # it waits to be begun again, or has been told
            return
        self._attempt = attempt
        for number, text in enumerate((task.stdout, task.stderr)):
            if text:  # or it is not known, as between two agents
                self._write(new_part(self._texts[number], text), nl=False, err=bool(number))
                self._texts[number] = text
        sys.stdout.flush()
        if task.error is not None:
            say(task.error.traceback.rstrip() or task.error.text)


def new_part(before: str, now: str) -> str:
    """What has come since ``before``, of which ``now`` may hold only the end; with three dots where some is missing."""
    if now.startswith(before):
        return now[len(before) :]
    if (at := now.rfind(before)) >= 0:
        return now[at + len(before) :]
    for kept in range(min(len(before), len(now)), 0, -1):
        if before.endswith(now[:kept]):
            return now[kept:]
    return f"...{now}"
