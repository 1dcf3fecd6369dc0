"""Several processes and one grid: scripts that come, go and are interrupted, other interpreters, edited sources."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import pytest

from htcgrid_core import Grid, connect
from tests.e2e import handlers
from tests.e2e.support import (
    GUARD_SECONDS,
    REPOSITORY,
    directory_of,
    ended,
    eventually,
    is_alive,
    kill_agents,
    run_script,
    start_script,
    the_agent,
)

WAITER = """
import sys
from htcgrid_core import connect
grid = connect(sys.argv[1])
session = grid.submit("tests.e2e.handlers.gate", [{"n": n, "gate": sys.argv[2]} for n in range(4)], name="interrupted")
print(session.id, flush=True)
session.wait(progress=len(sys.argv) > 3)
print("ended", session.progress().completed, flush=True)
"""

SUBMITTER = """
import sys
from htcgrid_core import connect
print(connect(sys.argv[1]).submit("tests.e2e.handlers.where", range(8), bundle_size=1).id)
"""


@pytest.mark.parametrize("progress", [[], ["progress"]], ids=["plain", "bar"])
def test_ctrl_c_ends_the_wait_and_not_the_session(
    grid: Grid, grid_url: str, tmp_path: Path, progress: list[str]
) -> None:
    (tmp_path / "waiter.py").write_text(WAITER)
    gate = tmp_path / "gate"
    process = start_script(tmp_path / "waiter.py", grid_url, str(gate), *progress)
    assert process.stdout is not None
    session = grid.session(process.stdout.readline().strip())
    eventually(lambda: list(session.tasks(state="RUNNING")), "its tasks run")
    agent = the_agent(grid_url)
    bells = directory_of(grid_url).bells
    eventually(lambda: list(bells.glob(f"*/{process.pid}-*")), "the script waits")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=GUARD_SECONDS)
    assert process.returncode == -signal.SIGINT
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert last.startswith(f"KeyboardInterrupt: session {session.id} goes on")
    assert f"htcgrid watch {session.id} --url '{grid_url}'" in last
    assert "htcgrid cancel" in last
    assert err.count("Traceback") == 1
    assert not session.done()
    assert is_alive(agent)
    gate.touch()
    assert ended(session).state == "COMPLETED"
    assert the_agent(grid_url) == agent
    assert {task.attempts for task in session.tasks()} == {1}


@pytest.mark.parametrize("terminal", [False, True], ids=["log", "terminal"])
def test_the_progress_bar(grid_url: str, tmp_path: Path, terminal: bool) -> None:
    """A bar on a terminal; in a log, one line at the end."""
    (tmp_path / "waiter.py").write_text(WAITER)
    (tmp_path / "gate").touch()
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "waiter.py", grid_url, str(tmp_path / "gate"), "progress"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "120", "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=theirs if terminal else subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    out, err = process.communicate(timeout=GUARD_SECONDS)
    shown = os.read(ours, 1 << 20).decode() if terminal else err
    os.close(ours)
    assert out.splitlines()[1:] == ["ended 4"]
    if terminal:
        assert "4/4" in shown
    else:
        assert len(shown.splitlines()) == 1
    assert "interrupted: COMPLETED, 4 of 4 tasks completed in" in re.sub(r"\x1b\[[0-9;]*m", "", shown)


def test_a_client_that_is_killed_leaves_its_session_running(grid: Grid, grid_url: str, tmp_path: Path) -> None:
    (tmp_path / "waiter.py").write_text(WAITER)
    process = start_script(tmp_path / "waiter.py", grid_url, str(tmp_path / "gate"))
    assert process.stdout is not None
    session = grid.session(process.stdout.readline().strip())
    process.kill()
    process.communicate()
    (tmp_path / "gate").touch()
    assert ended(session).state == "COMPLETED"


def test_a_submitter_need_not_wait(grid_url: str, tmp_path: Path) -> None:
    """A script submits and ends; the session goes on by itself, until its results are fetched."""
    (tmp_path / "submitter.py").write_text(SUBMITTER)
    done = run_script(tmp_path / "submitter.py", grid_url)
    assert done.stderr == ""
    with connect(grid_url) as grid:
        session = grid.session(done.stdout.strip())
        eventually(lambda: session.progress().ended, "it ends, though nobody waits for it")
        assert len(list(session.results())) == 8


def test_many_processes_make_the_same_new_grid(grid_url: str, tmp_path: Path) -> None:
    """Six at once on a directory that does not exist: one key, one database, one agent."""
    (tmp_path / "client.py").write_text(
        "import sys\n"
        "from htcgrid_core import connect\n"
        "with connect(sys.argv[1]) as grid:\n"
        "    print(sum(grid.map(abs, range(-50, 0))))\n"
        "    (pair,) = grid.submit('tests.e2e.handlers.where', [0]).results()\n"
        "    print(pair['parent'])\n"
    )
    processes = [start_script(tmp_path / "client.py", grid_url) for _ in range(6)]
    outputs = [process.communicate(timeout=GUARD_SECONDS) for process in processes]
    assert [err for _, err in outputs] == [""] * 6
    assert {out.split()[0] for out, _ in outputs} == {"1275"}
    assert {int(out.split()[1]) for out, _ in outputs} == {the_agent(grid_url)}


def test_a_grid_that_another_process_is_just_making(grid_url: str) -> None:
    """SQLite does not wait for a lock when it changes the journal's mode: the grid has to."""
    directory = directory_of(grid_url)
    directory.root.mkdir()
    maker = sqlite3.connect(directory.database, isolation_level=None, check_same_thread=False)
    maker.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, maker.execute, ["ROLLBACK"])
    release.start()
    with connect(grid_url) as grid:
        assert grid.sessions() == []
    release.join()
    maker.close()


def test_an_edited_handler_is_picked_up_by_the_next_session(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name and as a callable; the module, and what it imports."""
    module, helper = tmp_path / "edited_handler.py", tmp_path / "edited_helper.py"
    module.write_text("import edited_helper\ndef handler(event, context): return [1, edited_helper.answer()]\n")
    helper.write_text("def answer(): return 'one'\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def results() -> list[object]:
        return [
            *grid.submit("edited_handler.handler", range(20), bundle_size=1).results(),
            *grid.submit(handlers.call_edited_handler, range(20), bundle_size=1).results(),
        ]

    assert results() == [[1, "one"]] * 40
    helper.write_text("def answer(): return 'second'\n")
    assert results() == [[1, "second"]] * 40
    module.write_text("def handler(event, context): return 'rewritten'\n")
    assert results() == ["rewritten"] * 40
    module.write_text("def handler(event, context): return 1 // 0, 'broken'\n")
    session = grid.submit("edited_handler.handler", [1])
    assert ended(session).state == "FAILED"
    module.write_text("def handler(event, context): return 'mended again'\n")
    assert results() == ["mended again"] * 40


def test_a_worker_with_threads_left_behind_is_replaced_too(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stale worker has to go; a thread that never ends must not keep it."""
    module = tmp_path / "threaded_handler.py"
    source = (
        "import threading, time\n"
        "def handler(event, context):\n"
        "    threading.Thread(target=time.sleep, args=(3600,)).start()\n"
        "    return {}\n"
    )
    module.write_text(source.format(1))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert list(grid.submit("threaded_handler.handler", range(4), bundle_size=1).results()) == [1] * 4
    module.write_text(source.format(2222))
    assert list(grid.submit("threaded_handler.handler", range(4), bundle_size=1).results()) == [2222] * 4


def test_each_session_runs_where_it_was_submitted(grid: Grid, grid_url: str, tmp_path: Path) -> None:
    """Two scripts with functions of the same name, in folders of their own, share one grid."""
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "data.txt").write_text(f"data of {name}")
        (folder / "pricing.py").write_text(
            f"from pathlib import Path\ndef handler(event, context): return [{name!r}, Path('data.txt').read_text()]\n"
        )
        (folder / "script.py").write_text(
            "import sys\n"
            "from htcgrid_core import connect\n"
            "print(*set(map(str, connect(sys.argv[1]).submit('pricing.handler', range(6)).results())))\n"
        )
    for name in ("first", "second", "first"):
        done = run_script(tmp_path / name / "script.py", grid_url)
        assert done.stderr == ""
        assert done.stdout.strip() == str([name, f"data of {name}"])


def test_each_session_runs_with_the_interpreter_that_submitted_it(grid: Grid, grid_url: str, tmp_path: Path) -> None:
    """A second virtual environment, which sees the packages of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    other = tmp_path / "venv" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = tmp_path / "venv" / "lib" / version / "site-packages"
    (packages / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n{REPOSITORY}\n")
    (tmp_path / "submitter.py").write_text(SUBMITTER)
    done = run_script(tmp_path / "submitter.py", grid_url, python=str(other))
    assert done.stderr == ""
    theirs = grid.session(done.stdout.strip())
    ours = grid.submit("tests.e2e.handlers.where", range(8), bundle_size=1)
    ended(theirs)
    ended(ours)
    assert {(result["python"], result["cwd"]) for result in theirs.results()} == {(str(other), str(tmp_path))}
    assert {(result["python"], result["cwd"]) for result in ours.results()} == {(sys.executable, str(Path.cwd()))}
    assert {result["parent"] for result in (*theirs.results(), *ours.results())} == {the_agent(grid_url)}


def test_a_main_function_submitted_again_by_another_run_is_the_same_session(grid_url: str, tmp_path: Path) -> None:
    """A token and a function of the script itself: the second run finds the first one's session."""
    (tmp_path / "rerun.py").write_text(
        "import sys\n"
        "from htcgrid_core import connect\n"
        "FACTORS = {'a': 2, 'b': 3, 'c': 5}\n"
        "def price(event):\n"
        "    return FACTORS['a'] * helper(event)\n"
        "def helper(event):\n"
        "    return event\n"
        "if __name__ == '__main__':\n"
        "    session = connect(sys.argv[1]).submit(price, [1, 2, 3], token='rerun')\n"
        "    print(session.id, list(session.results()))\n"
    )
    runs = [run_script(tmp_path / "rerun.py", grid_url) for _ in range(4)]
    assert [run.stderr for run in runs] == [""] * 4
    assert len({run.stdout for run in runs}) == 1
    assert runs[0].stdout.split(maxsplit=1)[1].strip() == "[2, 4, 6]"


def test_a_submitter_that_dies_midway_is_resumed_by_its_token(grid: Grid, grid_url: str, tmp_path: Path) -> None:
    """It is gone after most of the vector was written; tasks have run; the same token carries on."""
    noted = tmp_path / "noted"
    (tmp_path / "submitter.py").write_text(
        "import os, sys\n"
        "from htcgrid_core import connect\n"
        "def events():\n"
        "    for n in range(200):\n"
        "        if n == int(sys.argv[3]):\n"
        "            os._exit(9)\n"
        "        yield {'n': n, 'seconds': 0, 'file': sys.argv[2], 'padding': 'x' * 60_000}\n"
        "with connect(sys.argv[1]) as grid:\n"
        "    print(grid.submit('tests.e2e.handlers.sleep', events(), token='nightly').id)\n"
    )
    grid.submit("tests.e2e.handlers.double", [1]).wait()  # an agent runs, and begins with what is written
    died = run_script(tmp_path / "submitter.py", grid_url, str(noted), "190")
    assert died.returncode == 9
    (session,) = grid.sessions("SUBMITTED")
    eventually(noted.exists, "tasks of the unfinished session run")
    resumed = run_script(tmp_path / "submitter.py", grid_url, str(noted), "-1")
    assert resumed.stderr == ""
    assert resumed.stdout.strip() == session.id
    assert list(session.results()) == list(range(200))
    numbers = sorted(int(line.split()[1]) for line in noted.read_text().splitlines())
    assert numbers == list(range(200))
    assert [entry.event for entry in session.history()].count("submit") == 1


@pytest.mark.parametrize("size", [60_000, 4_500_000], ids=["in rows", "in blobs"])
def test_a_resumed_submit_with_other_events_is_a_conflict(grid: Grid, grid_url: str, tmp_path: Path, size: int) -> None:
    """The same token and sizes, other contents: what was written is not mixed with it."""
    (tmp_path / "submitter.py").write_text(
        "import os, sys\n"
        "from htcgrid_core import connect\n"
        "letter, size, last = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])\n"
        "def events():\n"
        "    for n in range(last + 1):\n"
        "        if n == last:\n"
        "            os._exit(9)\n"
        "        yield letter * size\n"
        "connect(sys.argv[1]).submit('tests.e2e.handlers.echo', events(), token='mixed')\n"
    )
    count = 10_000_000 // size + 1
    died = run_script(tmp_path / "submitter.py", grid_url, "a", str(size), str(count))
    assert died.returncode == 9
    (session,) = grid.sessions("SUBMITTED")
    conflict = run_script(tmp_path / "submitter.py", grid_url, "b", str(size), str(count))
    assert conflict.returncode == 1
    assert "SessionConflict" in conflict.stderr
    again = grid.submit("tests.e2e.handlers.echo", iter(["a" * size] * count), token="mixed")
    assert again.id == session.id
    assert list(again.results()) == ["a" * size] * count


def test_agents_that_die_while_nobody_looks_are_replaced_by_the_next_client(
    grid_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTCGRID_LEASE_SECONDS", "1")
    (tmp_path / "submitter.py").write_text(SUBMITTER)
    done = run_script(tmp_path / "submitter.py", grid_url)
    kill_agents(grid_url)
    with connect(grid_url) as grid:
        session = grid.session(done.stdout.strip())
        assert ended(session).state == "COMPLETED"


def test_the_environment_of_handlers(grid_url: str, tmp_path: Path) -> None:
    """Handlers see no credentials of the submitter, unless told."""
    (tmp_path / "look.py").write_text(
        "import os, sys\n"
        "os.environ.update(AWS_SECRET_ACCESS_KEY='secret', MY_TOKEN='secret', OMP_NUM_THREADS='3', SHOWN='yes',\n"
        "                  HTCGRID_WORKER_ENV='SHOWN')\n"
        "from htcgrid_core import connect\n"
        "def look(event):\n"
        "    return {name: os.environ.get(name) for name in event}\n"
        "names = ['AWS_SECRET_ACCESS_KEY', 'MY_TOKEN', 'OMP_NUM_THREADS', 'SHOWN']\n"
        "print(*connect(sys.argv[1]).submit(look, [names]).results())\n"
    )
    done = run_script(tmp_path / "look.py", grid_url)
    assert done.stderr == ""
    seen = {"AWS_SECRET_ACCESS_KEY": None, "MY_TOKEN": None, "OMP_NUM_THREADS": "3", "SHOWN": "yes"}
    assert done.stdout.strip() == str(seen)
