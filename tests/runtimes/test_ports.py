"""Ports of the Runtime API tell who is there: a worker's serves that worker and what it starts, and nobody else."""

from __future__ import annotations

import http.client
import os
import socket
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from htcgrid_core.agent.workers.runtime_api import peers
from htcgrid_core.agent.workers.runtime_api.sidecars import Sidecars
from htcgrid_core.agent.workers.runtime_api.workers import is_from
from htcgrid_core.domain.function import SidecarPort
from htcgrid_core.domain.metrics import Metric
from htcgrid_core.ports.metrics import NoMetrics
from tests.e2e.support import eventually
from tests.runtimes.clients import IDLE, VERSION, ask, hosted
from tests.runtimes.conftest import FUNCTIONS
from tests.runtimes.test_protocol import result_of

pytestmark = pytest.mark.skipif(not peers.CAN_TELL, reason="only Linux tells whose a socket is")

ECHO = (FUNCTIONS / "shell" / "bootstrap").read_text()
TELL = '#!/bin/sh\necho "$AWS_LAMBDA_RUNTIME_API" > "port-$$.new"\nmv "port-$$.new" "port-$$"\n'
TELLING = ECHO.replace("#!/bin/sh\n", TELL)
NOBODY = 65534


class Counted(NoMetrics):
    """What was counted."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def add(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        self.found[f"{metric.name} {labels.get('what', '')}"] += 1


def connected(address: str) -> bool:
    """Whether a port answers this process."""
    try:
        return ask(address, "GET", "/").status == 404
    except (OSError, http.client.HTTPException):
        return False


def test_a_worker_and_what_it_starts_are_served(tmp_path: Path) -> None:
    """The shell's curl is a child of the worker, a new one each time."""
    with hosted(tmp_path, ECHO, may=is_from) as host:
        for event in ("first", "second"):
            host.run([event])
            assert result_of(host.outcome()) == event


def test_other_programs_of_the_same_user_are_not(tmp_path: Path) -> None:
    """They are hung up on before they are read, are counted, and take no place from the worker."""
    count = Counted()
    with hosted(tmp_path, TELLING, may=is_from, count=count) as host:
        (address,) = (host.run(["first"]), host.until(host.ports, "a worker started"))[1]
        asked = host.threads.submit(connected, address)
        host.until(asked.done, "it has its answer")
        assert not asked.result()
        name, _, port = address.partition(":")
        idle = [socket.create_connection((name, int(port)), timeout=60) for _ in range(8)]
        host.run(["second"])
        found = [result_of(host.outcome())]
        host.until(lambda: host.pool._sandboxes[0].parked, "it waits for more")
        host.until(lambda: count.found["htcgrid_worker_violations_total connection"] == 9, "each is counted")
        for raw in idle:
            assert raw.recv(1) == b""
            raw.close()
    assert found == ["first"]


def test_the_worker_of_another_slot_is_not(tmp_path: Path) -> None:
    other = tmp_path / "other"
    ask_other = f'[ -e "{other}" ] && curl -sS -m 10 "http://$(cat {other})/" > "{tmp_path}/heard" 2>/dev/null'
    script = TELLING.replace("while ", f'{ask_other}; echo $? > "{tmp_path}/said"\nwhile ', 1)
    with hosted(tmp_path, script, slots=2, may=is_from) as host:
        host.run(["of slot 0"], slot=0)
        assert result_of(host.outcome()) == "of slot 0"
        (tmp_path / "said").unlink()
        other.write_text(host.ports()[0])
        host.run(["of slot 1"], slot=1)
        assert result_of(host.outcome()) == "of slot 1"
        assert (tmp_path / "said").read_text().strip() != "0"
        assert (tmp_path / "heard").read_text() == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user for a moment")
def test_another_user_is_not(tmp_path: Path) -> None:
    with hosted(tmp_path, IDLE, may=is_from) as host:
        host.run([0])
        (address,) = host.until(host.ports, "a worker started")
        pid = os.fork()
        if pid == 0:
            os.setgroups([])
            os.setuid(NOBODY)
            os._exit(int(connected(address)))
        code: list[int] = []

        def ended() -> bool:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                code.append(os.waitstatus_to_exitcode(status))
            return bool(code)

        host.until(ended, "it has its answer")
        assert code == [0]


# Who is there


@pytest.fixture(params=[peers._asked, peers._looked_up], ids=["netlink", "proc"])
def way(request: pytest.FixtureRequest) -> Callable[[peers.Address, peers.Address], peers.Peer | None]:
    found: Callable[[peers.Address, peers.Address], peers.Peer | None] = request.param
    return found


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_whose_a_socket_is(
    way: Callable[[peers.Address, peers.Address], peers.Peer | None], family: socket.AddressFamily
) -> None:
    """Also one for IPv6 that has come to an address of IPv4, as Java's do."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(family) as client:
        port = server.getsockname()[1]
        client.connect(("127.0.0.1" if family is socket.AF_INET else "::ffff:127.0.0.1", port))
        connection, _ = server.accept()
        with connection:
            ends = connection.getpeername(), connection.getsockname()
            peer = way(*ends)
            assert peer == peers.Peer(os.geteuid(), os.fstat(client.fileno()).st_ino)
            assert peers.is_held_by(peer, os.getpid())
            assert not peers.is_held_by(peer, os.getpid(), itself=False)
            client.close()
            assert way(*ends) is None
            assert peers.peer_of(connection) is None


def test_a_grandchild_counts(tmp_path: Path) -> None:
    program = (
        "import socket, subprocess, sys\n"
        "if len(sys.argv) > 2: subprocess.run([sys.executable, '-c', sys.argv[2], sys.argv[1]])\n"
        "else: s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); s.recv(1)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as stranger:
        child = subprocess.Popen([sys.executable, "-c", program, str(server.getsockname()[1]), program])
        connection, _ = server.accept()
        peer = peers.peer_of(connection)
        assert peer is not None
        assert peers.is_held_by(peer, child.pid)
        assert peers.is_held_by(peer, os.getpid(), itself=False)
        stranger.connect(server.getsockname())
        other, _ = server.accept()
        found = peers.peer_of(other)
        assert found is not None
        assert not peers.is_held_by(found, child.pid)
        connection.close()
        other.close()
        assert child.wait(60) == 0


# Sidecars


def test_a_sidecars_port_is_not_for_the_agents_own_workers(tmp_path: Path) -> None:
    """A handler that an agent runs itself cannot pass for the container beside it."""
    count = Counted()
    pool = Sidecars([SidecarPort(function="app", port=0)], count=count)
    program = tmp_path / "worker"
    program.write_text(f'#!/bin/sh\nexec curl -sS -m 20 "http://{pool.addresses[0]}{VERSION}/invocation/next"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with subprocess.Popen([str(program)], stderr=subprocess.DEVNULL) as worker:

        def ended() -> bool:
            pool.wait(0.01)
            return worker.poll() is not None

        eventually(ended, "it is hung up on")
    assert worker.returncode != 0
    assert "no sidecar of app asks" in pool.missing()
    assert count.found["htcgrid_worker_violations_total connection"] == 1
    pool.close()


@pytest.mark.parametrize(
    ("users", "is_served"),
    [(frozenset({os.geteuid() + 1}), False), (frozenset({os.geteuid()}), True), (None, True)],
    ids=["another", "this", "anybody"],
)
def test_a_sidecars_port_is_for_users_that_are_named(users: frozenset[int] | None, is_served: bool) -> None:
    """On a machine with other users; in a pod, containers may well be of different ones."""
    pool = Sidecars([SidecarPort(function="app", port=0)], users)
    name, _, port = pool.addresses[0].partition(":")
    with socket.create_connection((name, int(port)), timeout=60) as client:
        client.sendall(f"GET / HTTP/1.1\r\nHost: {pool.addresses[0]}\r\n\r\n".encode())
        client.setblocking(False)

        def answer() -> bytes:
            pool.wait(0.01)
            try:
                return client.recv(100) or b"nothing"
            except BlockingIOError:
                return b""
            except ConnectionResetError:
                return b"nothing"

        assert eventually(answer, "an answer, or its end").startswith(b"HTTP/1.1 404") == is_served
    assert ("was refused" in pool.missing()) == (not is_served)
    pool.close()
