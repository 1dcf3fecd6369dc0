"""Sidecars by hand: a port is one client's, which the agent can neither start nor kill."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core.agent.workers.runtime_api import requests
from htcgrid_core.agent.workers.runtime_api import sidecars as pools
from htcgrid_core.agent.workers.runtime_api.requests import VERSION
from htcgrid_core.agent.workers.runtime_api.sidecars import Sidecars
from htcgrid_core.codecs.outcomes import decode_error
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.domain.function import SidecarPort
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.worker import Flushed, LoadFailed, StartFailed, WorkerLost
from tests.runtimes.clients import Answer, Host
from tests.runtimes.test_protocol import error_of, result_of

NEXT = f"{VERSION}/invocation/next"
OVER = TaskError("TaskTimeout", "Task timed out after 1 seconds")


class Beside(Host):
    """A pool whose clients the test plays, on the ports that the system gave."""

    pool: Sidecars  # type: ignore[assignment]  # the other kind's

    def ports(self) -> list[str]:
        return [self.pool.addresses[0]]

    def addresses(self) -> list[str]:
        return self.pool.addresses


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Beside]:
    """Two ports of function ``app``."""
    yield from hosted([SidecarPort(function="app", port=0), SidecarPort(function="app", port=0)], tmp_path)


def hosted(ports: list[SidecarPort], folder: Path) -> Iterator[Beside]:
    host = Beside(Sidecars(ports), folder)  # type: ignore[arg-type]  # the other kind's
    try:
        yield host
    finally:
        host.pool.close()
        host.threads.shutdown(wait=True, cancel_futures=True)


class Client:
    """A client that keeps its connection, as AWS's do."""

    def __init__(self, host: Host, number: int = 0) -> None:
        self.host = host
        self.address = host.until(host.addresses, "its port is known")[number]
        name, _, port = self.address.partition(":")
        self.socket = socket.create_connection((name, int(port)), timeout=60)
        self.file = self.socket.makefile("rb")

    def send(self, method: str, path: str, body: bytes = b"") -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.address}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)

    def receive(self) -> Answer:
        self.host.until(lambda: self.is_answered(), "an answer")
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return Answer(status, headers, self.file.read(int(headers["content-length"])))

    def is_answered(self) -> bool:
        """Whether something has come, which may be the end."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        finally:
            self.socket.setblocking(True)
        return True

    def next(self) -> Answer:
        self.send("GET", NEXT)
        return self.receive()

    def respond(self, request_id: str, value: object) -> Answer:
        self.send("POST", f"{VERSION}/invocation/{request_id}/response", json.dumps(value).encode())
        return self.receive()

    def is_hung_up_on(self) -> bool:
        self.host.until(self.is_answered, "the end of the connection")
        return self.file.read(1) == b""

    def die(self, *, unread: bool = False) -> None:
        """End as a killed process does: a reset if it has not read everything, which Linux makes of it."""
        self.file.close()
        if unread:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def test_a_sidecar_runs_tasks(host: Beside) -> None:
    client = Client(host)
    client.send("GET", NEXT)
    host.until(lambda: not host.pool.missing(), "it is seen")
    chunk = host.run([10, 11], task_timeout_seconds=30)
    for index, value in enumerate((10, 11)):
        told = client.receive() if index == 0 else client.next()
        assert json.loads(told.body) == value
        assert told.request_id == f"s-tests/{index}/1"
        assert told.headers["lambda-runtime-invoked-function-arn"].endswith(":function:app:1")
        assert host.pool.running(0)[:2] == (chunk.serial, index)  # type: ignore[index]  # just looked
        assert client.respond(told.request_id, value * 2).status == 202
    host.pool.wait(0)
    found = [result_of(outcome) for event in host.events if isinstance(event, Flushed) for outcome in event.outcomes]
    assert found == [20, 22]
    assert host.pool.running(0) is None


@pytest.mark.parametrize("isolation", ["session", "task"])
def test_a_client_that_nobody_can_begin_anew_is_given_no_task_that_asks_for_one(host: Beside, isolation: str) -> None:
    client = Client(host)
    client.send("GET", NEXT)
    host.run(["alone"], isolation=isolation)
    error = host.first(LoadFailed).error
    assert (error.type, isolation in error.message) == ("IsolationUnavailable", True)
    host.run(["shared"])
    assert client.receive().body == b'"shared"'


def test_two_sidecars_of_a_function_work_at_once(host: Beside) -> None:
    clients = [Client(host, number) for number in range(2)]
    for client in clients:
        client.send("GET", NEXT)
    host.run(["a", "b"], slot=0)
    host.run(["c"], slot=1)
    told = [client.receive() for client in clients]
    assert {answer.body for answer in told} == {b'"a"', b'"c"'}, "a slot's tasks run one after another"
    for client, answer in zip(clients, told, strict=True):
        client.respond(answer.request_id, None)
    assert clients[1].next().body == b'"b"', "on whichever client asks"


def test_at_the_deadline_its_answer_is_refused(host: Beside) -> None:
    client = Client(host)
    host.run([0, 1])
    late = client.next()
    host.pool.kill(0, OVER)
    lost = host.first(WorkerLost)
    assert (lost.running, lost.error) == ((1, 0), OVER)
    assert client.is_hung_up_on()
    assert "no sidecar of app asks for tasks" in host.pool.missing(), "it runs what nobody waits for"
    host.run([1])
    again = Client(host)
    assert again.respond(late.request_id, "too late").status == 400
    assert host.pool.missing(), "that was no sign of readiness"
    told = again.next()
    assert not host.pool.missing()
    assert told.body == b"1"
    again.respond(told.request_id, "in time")
    assert result_of(host.outcome()) == "in time"
    assert not [event for event in host.events if isinstance(event, Flushed)]


def test_a_client_that_keeps_its_connection_and_ends_has_crashed(host: Beside) -> None:
    client = Client(host)
    host.run([0, 1, 2])
    client.respond(client.next().request_id, None)
    client.next()
    client.die()
    lost = host.first(WorkerLost)
    assert (lost.running, lost.error.type) == ((1, 1), "WorkerCrashed")
    assert "ended or hung up" in lost.error.message
    assert host.pool.missing()


def test_a_client_of_one_connection_a_request_has_not(host: Beside) -> None:
    """As scripts with curl do."""
    host.run([0])
    told = host.next()
    assert host.pool.running(0) is not None
    host.respond(told.request_id, "done")
    assert result_of(host.outcome()) == "done"


def test_who_asks_without_an_answer_was_started_anew(host: Beside) -> None:
    host.run([0, 1])
    host.next()
    asked = host.ask("GET", NEXT)
    lost = host.first(WorkerLost)
    assert (lost.running, lost.error.type) == ((1, 0), "WorkerCrashed")
    assert "started anew" in lost.error.message
    assert not host.pool.missing()
    host.run([1])
    host.until(asked.done, "the new one is given a task")
    assert asked.result().body == b"1"


def test_a_task_that_was_not_read_is_not_charged(host: Beside) -> None:
    """Its client died just then."""
    dying, other = Client(host, 0), Client(host, 1)
    dying.send("GET", NEXT)
    host.until(lambda: not host.pool.missing(), "it waits")
    dying.die(unread=True)
    host.run(["kept"])
    other.send("GET", NEXT)
    assert other.receive().body == b'"kept"'
    assert not host.events


def test_tasks_wait_for_a_sidecar_only_so_long(host: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SIDECAR_RETURN_SECONDS", 0.1)
    chunk = host.run([0])
    failed = host.first(StartFailed)
    assert (failed.slot, failed.serial) == (0, chunk.serial)
    for address in host.pool.addresses:
        assert address in failed.reason


def test_an_init_error_is_the_functions(host: Beside) -> None:
    body = json.dumps({"errorType": "Runtime.ImportModuleError", "errorMessage": "no module app", "stackTrace": []})
    assert host.answered("POST", f"{VERSION}/init/error", body.encode()).status == 202
    assert not host.events, "no task waits for it"
    assert "no module app" in host.pool.missing()
    chunk = host.run([0, 1])
    host.answered("POST", f"{VERSION}/init/error", body.encode())
    failed = host.first(LoadFailed)
    assert (failed.serial, failed.error.type) == (chunk.serial, "InitError")
    assert "no module app" in failed.error.message


def test_errors_and_wrong_results(host: Beside) -> None:
    client = Client(host)
    host.run([0, 1])
    told = client.next()
    error = {"errorType": "ValueError", "errorMessage": "no price", "stackTrace": []}
    client.send("POST", f"{VERSION}/invocation/{told.request_id}/error", json.dumps(error).encode())
    assert client.receive().status == 202
    assert error_of(host.outcome()).message == "no price"
    told = client.next()
    client.send("POST", f"{VERSION}/invocation/{told.request_id}/response", b"{nonsense")
    assert client.receive().status == 400
    assert decode_error(host.outcome().payload).type == "InvalidResult"


def test_a_version_has_a_port_of_its_own(tmp_path: Path) -> None:
    for host in hosted([SidecarPort(function="app", version=2, port=0)], tmp_path):
        client = Client(host)
        client.send("GET", NEXT)
        chunk = host.run([0])
        assert chunk.function.spec.function.package is not None
        assert not host.pool.serves(chunk.function.spec.function.package), "it is version 1"
        assert "app:2" in pools._said(host.pool._sidecars)


def test_what_has_not_begun_is_taken_back(host: Beside) -> None:
    chunk = host.run([0, 1, 2])
    assert host.pool.revoke(0) == [], "nothing runs yet"
    told = Client(host).next()
    assert told.body == b"0"
    assert host.pool.revoke(0) == [(chunk.serial, 1)]
    assert host.pool.revoke(0) == []


def test_another_host_name_is_refused(host: Beside) -> None:
    host.run([0])
    assert host.next(Host="rebound.example:80").status == 403
    assert host.next(Host=host.ports()[0].replace("127.0.0.1", "localhost")).status == 200


def test_a_port_that_is_taken(host: Beside) -> None:
    port = int(host.pool.addresses[0].rpartition(":")[2])
    with pytest.raises(GridUnavailable, match=f"port {port} for the sidecar of app"):
        Sidecars([SidecarPort(function="app", port=port)])


def test_a_response_that_is_cut_off_ends_its_task_alone(host: Beside) -> None:
    first = Client(host)
    host.run([10, 11])
    told = first.next()
    head = f"POST {VERSION}/invocation/{told.request_id}/response HTTP/1.1\r\nHost: {first.address}\r\n"
    first.socket.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n2\r\n10\r\n")
    first.socket.shutdown(socket.SHUT_WR)
    assert first.receive().status == 400
    assert error_of(host.outcome()).type == "Runtime.TruncatedResponse"
    second = Client(host)
    told = second.next()
    assert told.body == b"11"
    assert second.respond(told.request_id, "done").status == 202
    assert result_of(host.outcome()) == "done"


def test_what_cannot_be_answered_costs_its_task_alone(host: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(host)
    chunk = host.run([0])
    told = client.next()
    monkeypatch.setattr(requests, "posted", lambda *_: 1 // 0)
    client.send("POST", f"{VERSION}/invocation/{told.request_id}/response", b"1")
    assert client.is_hung_up_on()
    lost = host.first(WorkerLost)
    assert (lost.running, lost.error.type) == ((chunk.serial, 0), "WorkerCrashed")
    monkeypatch.undo()
    host.run(["second"])
    assert Client(host).next().body == b'"second"'


def test_an_init_error_of_a_client_that_lives_and_has_a_task_is_refused(host: Beside) -> None:
    client, beside = Client(host), Client(host)
    host.run([10, 11])
    client.respond(client.next().request_id, "done")
    told = client.next()
    beside.send("POST", f"{VERSION}/init/error", b"{}")
    assert beside.receive().status == 403
    assert client.respond(told.request_id, "done").status == 202
    host.until(lambda: host.pool.running(0) is None, "it is answered")
    assert not [event for event in host.events if isinstance(event, WorkerLost | LoadFailed)]
