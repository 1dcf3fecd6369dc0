"""Another Unix user of the machine against a grid that runs: each thing that they might do is tried, and refused."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from htcgrid_core import connect
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.local.agent_processes import running_agents
from htcgrid_core.local.directory import Directory, open_plane
from tests.e2e.support import directory_of, eventually, fresh_grid
from tests.runtimes.clients import VERSION, ask
from tests.runtimes.conftest import FUNCTIONS

NOBODY = 65534
DONE = "done"
KINDS = (
    "key",
    r"grid\.db",
    r"grid\.db-wal",
    "blobs/.+",
    "bells/.+",
    r"agents/.*\.lock",
    r"agents/.*\.log",
    "packages/.+",
)
Attempts = dict[str, Callable[[], object]]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user for a moment"),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked into by /proc"),
]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder as /tmp is; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


def as_another_user(attempts: Attempts) -> dict[str, str]:
    """What came of each: done, or the name of the error."""
    "localhost".encode("idna")  # loads what they may not be able to read
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writing, json.dumps({what: outcome_of(attempt) for what, attempt in attempts.items()}).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    found: dict[str, str] = json.loads(said)
    assert found.keys() == attempts.keys()
    return found


def outcome_of(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    except Exception as error:
        return type(error).__name__
    return DONE


def opened(path: Path | str, flags: int) -> Callable[[], object]:
    """Open a file or a named pipe, and nothing else."""
    return lambda: os.close(os.open(path, flags | os.O_NONBLOCK))


def on_files(root: Path) -> Attempts:
    """Everything below a grid's directory: folders, database, keys, blobs, bells, locks and logs, packages."""
    attempts: Attempts = {}
    for path in [root, *root.rglob("*")]:
        name, mode = path.relative_to(root.parent), path.lstat().st_mode
        if stat.S_ISDIR(mode):
            attempts[f"write to {name}"] = lambda path=path: (path / "intruder").touch()  # type: ignore[misc]
        if stat.S_ISDIR(mode) and path != root:
            attempts[f"list {name}"] = lambda path=path: os.listdir(path)  # type: ignore[misc]
        if not stat.S_ISDIR(mode):
            attempts[f"read {name}"] = opened(path, os.O_RDONLY)
            attempts[f"write {name}"] = opened(path, os.O_WRONLY)
    attempts[f"rename {root.name}"] = lambda: root.rename(root.with_name("taken"))
    return attempts


def on_processes(processes: list[psutil.Process]) -> Attempts:
    """Signals, what they know, and what they have open."""
    attempts: Attempts = {}
    for process in processes:
        name, proc = f"{process.pid} ({process.name()})", Path("/proc", str(process.pid))
        attempts[f"signal {name}"] = lambda pid=process.pid: os.kill(pid, 0)  # type: ignore[misc]
        for what in ("environ", "mem", "maps", "auxv"):
            attempts[f"read {what} of {name}"] = opened(proc / what, os.O_RDONLY)
        attempts[f"list the descriptors of {name}"] = lambda proc=proc: os.listdir(proc / "fd")  # type: ignore[misc]
        attempts[f"enter the folder of {name}"] = lambda proc=proc: os.listdir(proc / "cwd")  # type: ignore[misc]
    return attempts


def on_ports(addresses: set[tuple[str, int]]) -> Attempts:
    """Whatever listens: nothing is read that it says."""
    return {
        f"ask {host}:{port}": lambda at=f"{host}:{port}": ask(at, "GET", f"{VERSION}/invocation/next")  # type: ignore[misc]
        for host, port in addresses
    }


def ports_of(processes: list[psutil.Process]) -> set[tuple[str, int]]:
    """Where they can be reached by the network."""
    found = [each for process in processes for each in process.net_connections("inet")]
    return {(each.laddr.ip, each.laddr.port) for each in found if each.status == psutil.CONN_LISTEN}


@dataclass(frozen=True)
class Busy:
    """A grid that runs a task of each kind of worker."""

    root: Path
    processes: list[psutil.Process]


@pytest.fixture(params=["its own", "of mode 755"])
def busy(request: pytest.FixtureRequest, shared: Path) -> Iterator[Busy]:
    """In a directory that it made, and in one that its user made, and whose names others may see."""
    root = shared / "grid"
    if request.param == "of mode 755":
        root.mkdir(mode=0o755)
    started, child = shared / "started", shared / "child"

    def hang(event: str) -> None:
        started.touch()
        signal.pause()

    with fresh_grid(root) as url, connect(url) as grid:
        grid.deploy("app", FUNCTIONS / "shell", runtime="provided.al2023")
        grid.submit(hang, ["x"])
        grid.submit("app", [{"how": "sleep_with_child", "file": str(child)}])
        eventually(lambda: started.exists() and child.exists(), "both run")
        agents = [psutil.Process(pid) for pid in running_agents(directory_of(url))]
        yield Busy(root, [*agents, *(each for agent in agents for each in agent.children(recursive=True))])


def test_nothing_of_a_grid_that_runs_is_theirs(busy: Busy) -> None:
    files, processes, ports = on_files(busy.root), on_processes(busy.processes), on_ports(ports_of(busy.processes))
    there = {str(path.relative_to(busy.root)) for path in busy.root.rglob("*")}
    for kind in KINDS:
        assert any(re.fullmatch(kind, name) for name in there), f"{kind} is not there to be tried"
    assert len(busy.processes) >= 3  # an agent and both workers
    assert len(ports) == 1  # the Runtime API's
    listening = [each for process in busy.processes for each in process.net_connections("unix") if each.laddr]
    assert listening == []
    found = as_another_user({**files, **processes, **ports})
    assert {what: how for what, how in found.items() if how == DONE} == {}, "was not refused"
    assert {found[what] for what in files} <= {"EACCES", "EPERM"}
    assert {found[what] for what in processes} <= {"EACCES", "EPERM"}
    assert {found[what] for what in ports} <= {"ECONNRESET", "RemoteDisconnected"}  # before anything was read


def test_what_is_open_would_be_found(shared: Path) -> None:
    """Or else nothing here could fail."""
    root = shared / "grid"
    (root / "blobs").mkdir(parents=True)
    (root / "key").touch()
    os.mkfifo(root / "bell")
    for path in (root, *root.iterdir()):
        path.chmod(0o777)
        os.chown(path, NOBODY, NOBODY)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        open(os.open(root / "bell", os.O_RDONLY | os.O_NONBLOCK), "rb"),
        subprocess.Popen(["sleep", "60"], user=NOBODY, group=NOBODY, extra_groups=[], cwd="/") as theirs,
    ):
        try:
            processes = on_processes([psutil.Process(theirs.pid)])
            connect_to = {"connect": lambda: socket.create_connection(server.getsockname(), timeout=60).close()}
            found = as_another_user({**on_files(root), **processes, **connect_to})
        finally:
            theirs.kill()
    assert {what: how for what, how in found.items() if how != DONE and " mem " not in what} == {}


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o777], ids=oct)
def test_a_directory_that_they_made_beforehand_is_refused(shared: Path, mode: int) -> None:
    """Where the grid is to be, in a folder that all may write to."""
    root = shared / "grid"

    def make() -> None:
        root.mkdir()
        root.chmod(mode)

    assert as_another_user({"make": make}) == {"make": DONE}
    with pytest.raises(GridUnavailable, match=f"{root}"):
        connect(f"local://{root}").submit(len, ["abc"])
    assert list(root.iterdir()) == []


def test_a_grid_cannot_be_opened_as_theirs(shared: Path) -> None:
    """By what htcgrid itself offers: to watch it, or to submit to it."""
    root = shared / "grid"
    open_plane(Directory(root))
    assert as_another_user({"open": lambda: open_plane(Directory(root))}) == {"open": "GridUnavailable"}
