"""What a script and a command say once tasks have failed: which, why, with what traceback, and what to do."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from htcgrid_core import Grid, SessionFailed, TaskFailed, WaitTimeout
from tests.e2e.command_line import CommandLine
from tests.e2e.support import run_script

SCRIPT = """
import sys
from htcgrid_core import connect


def fussy(number):
    print("looking at", number)
    if number % 7 == 6:
        raise ValueError(f"{number} is no good")
    return number


if __name__ == "__main__":
    with connect(sys.argv[1]) as grid:
        list(grid.submit(fussy, range(20), retry=1).results())
"""


def test_a_script_ends_with_the_tasks_traceback_and_what_to_do(shell: CommandLine) -> None:
    script = shell.folder / "fussy.py"
    script.write_text(SCRIPT)
    done = run_script(script, shell.url)
    assert done.returncode == 1
    own = done.stderr.index(f'File "{script}", line 9, in fussy')
    cause = done.stderr.index("The above exception was the direct cause of the following exception")
    assert own < cause
    assert 'raise ValueError(f"{number} is no good")' in done.stderr[own:cause]
    message = done.stderr[cause:].partition("SessionFailed: ")[2]
    session, *lines = message.strip().splitlines()
    assert re.match(r"session (s-\S+) ended FAILED: 2 of 20 tasks failed", session)
    session = session.split()[1]
    assert lines[:2] == ["  task 6: ValueError: 6 is no good", "  task 13: ValueError: 13 is no good"]
    logs = re.match(rf"`htcgrid (logs {session} 6) --url '(.*)'` shows what", lines[2])
    assert logs is not None
    assert logs[2] == shell.url
    ran = shell.call(*logs[1].split())
    assert ran.out == "looking at 6\n"
    assert f'File "{script}", line 9, in fussy' in ran.err
    assert f"`htcgrid tasks {session} --state FAILED --url '{shell.url}'` lists all that failed" in lines[3]


def test_on_the_command_line_which_knows_its_grid_without(shell: CommandLine) -> None:
    ran = shell.run("submit", "mine.moody", "--range", "4", "--max-attempts", "1", "--wait")
    assert ran.code == 1
    assert re.search(r"`htcgrid logs s-\S+ 0` shows what the first printed", ran.err)
    assert "--url" not in ran.err


def odd_fails_unless(event: tuple[int, str]) -> int:
    number, healed = event
    if number % 2 and not Path(healed).exists():
        raise ValueError(f"{number} is odd")
    return number


def test_after_a_resubmit_indexes_are_those_of_the_first_session(grid: Grid, tmp_path: Path) -> None:
    session = grid.submit(odd_fails_unless, [(n, str(tmp_path / "healed")) for n in range(8)], retry=1)
    session.wait()
    again = grid.resubmit(session)
    once_more = grid.resubmit(again) if again.wait() else again
    once_more.wait()
    for each in (session, again, once_more):
        with pytest.raises(SessionFailed) as failed:
            list(each.results())
        assert [failure.index for failure in failed.value.failures] == [1, 3, 5, 7]
        assert "task 3: ValueError: 3 is odd" in str(failed.value)
        own = 1 if each is session else 0
        assert f"`htcgrid logs {each.id} {own} --url" in str(failed.value)  # by its own numbers
        found = [task.index for task in each.results(errors="return") if isinstance(task, TaskFailed)]
        assert found == [1, 3, 5, 7]
    copy = pickle.loads(pickle.dumps(failed.value))
    assert (str(copy), copy.advice) == (str(failed.value), failed.value.advice)
    assert isinstance(copy.__cause__, TaskFailed)


def test_a_wait_that_is_over_names_the_session_once_and_once_more_in_a_command(grid: Grid, tmp_path: Path) -> None:
    session = grid.submit(until, [str(tmp_path / "gate")])
    with pytest.raises(WaitTimeout) as over:
        session.wait(timeout=0)
    assert str(over.value).count(session.id) == 2
    assert "htcgrid watch" in str(over.value)
    session.cancel()


def until(gate: str) -> None:
    import time

    while not Path(gate).exists():
        time.sleep(0.01)
