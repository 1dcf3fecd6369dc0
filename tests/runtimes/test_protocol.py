"""The Runtime API by hand: what a client may do, must not do, and what its death costs."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from htcgrid_core.agent.workers.runtime_api import http as http_connection
from htcgrid_core.codecs.outcomes import Outcome, decode_error
from htcgrid_core.domain import limits
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.worker import Flushed, LoadFailed, Used, WorkerLost
from tests.e2e.support import eventually, is_alive
from tests.runtimes.clients import VERSION, Host, ask, hosted
from tests.runtimes.conftest import FUNCTIONS

ECHO = (FUNCTIONS / "shell" / "bootstrap").read_text()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A pool of one worker, whose client is the test."""
    with hosted(tmp_path) as host:
        yield host


def result_of(outcome: Outcome) -> Any:
    """A result as its session's reader decodes it."""
    assert not outcome.failed, outcome.payload
    return json.loads(bytes(outcome.payload))


def error_of(outcome: Outcome) -> TaskError:
    """Why a task failed."""
    assert outcome.failed
    return decode_error(outcome.payload)


def test_an_invocation_and_its_headers(host: Host) -> None:
    host.run([{"n": 1}], task_timeout_seconds=30)
    before = time.time()
    told = host.next()
    assert (told.status, told.body) == (200, b'{"n":1}')
    assert told.request_id == "s-tests/0/1"
    assert 0 < int(told.headers["lambda-runtime-deadline-ms"]) / 1000 - before <= 31
    assert told.headers["lambda-runtime-invoked-function-arn"].endswith(":function:app:1")
    assert told.headers["lambda-runtime-trace-id"].startswith("Root=1-")
    custom = json.loads(told.headers["lambda-runtime-client-context"])["custom"]
    assert {"session_id": "s-tests", "task_index": 0, "attempt": 1}.items() <= custom.items()
    assert custom["traceparent"].split("-")[1] in told.headers["lambda-runtime-trace-id"].replace("-", "")
    assert host.respond(told.request_id, ["done"]).status == 202
    assert result_of(host.outcome()) == ["done"]


def test_a_client_that_waits_is_given_the_next_chunk(host: Host) -> None:
    host.run([0])
    host.respond(host.next().request_id, 0)
    parked = host.ask("GET", f"{VERSION}/invocation/next")
    host.until(lambda: parked.running(), "it waits")
    host.run(["second"])
    host.until(parked.done, "it is given the task")
    assert parked.result().body == b'"second"'


def test_a_client_that_does_not_ask_again_is_replaced(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it goes to another, and is not charged."""
    host.run([0])
    host.respond(host.next().request_id, 0)
    monkeypatch.setattr(limits, "WORKER_START_SECONDS", 0.5)
    before = host.worker().pid
    host.run(["second"])
    host.until(lambda: host.worker().pid != before, "it is replaced")
    monkeypatch.undo()
    host.until(lambda: len(host.ports()) == 2, "the other one tells its port")
    assert host.next().body == b'"second"'
    assert not [event for event in host.events if isinstance(event, WorkerLost | LoadFailed)]


def test_tasks_of_a_chunk_run_one_by_one(host: Host) -> None:
    chunk = host.run([10, 11, 12])
    for index in range(3):
        told = host.next()
        assert host.pool.running(0) is not None
        assert host.pool.running(0)[:2] == (chunk.serial, index)  # type: ignore[index]  # just looked
        host.respond(told.request_id, json.loads(told.body) * 2)
    outcomes = [outcome for event in host.events if isinstance(event, Flushed) for outcome in event.outcomes]
    assert [(outcome.index, result_of(outcome)) for outcome in outcomes] == [(0, 20), (1, 22), (2, 24)]
    assert host.pool.running(0) is None


def test_another_invocation_cannot_be_answered(host: Host) -> None:
    host.run([0])
    told = host.next()
    for wrong in ("s-tests/0/2", "s-tests/1/1", "s-other/0/1", "x", "../../s-tests/0/1"):
        assert host.respond(wrong, "forged").status == 400
    assert host.respond(told.request_id, "right").status == 202
    assert host.respond(told.request_id, "again").status == 400
    assert result_of(host.outcome()) == "right"
    assert not [event for event in host.events if isinstance(event, Flushed)]


def test_no_second_invocation_before_the_first_is_answered(host: Host) -> None:
    host.run([0, 1])
    told = host.next()
    refused = host.next()
    assert (refused.status, json.loads(refused.body)["errorType"]) == (403, "InvalidStateTransition")
    assert host.respond(told.request_id, 0).status == 202
    assert host.next().body == b"1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"), ("GET", "/2015-03-31/functions"), ("POST", f"{VERSION}/invocation/next"),
        ("GET", f"{VERSION}/invocation/s-tests/0/1/response"), ("DELETE", f"{VERSION}/invocation/next"),
        ("POST", f"{VERSION}/invocation//response"), ("GET", f"{VERSION}/../../etc/passwd"),
        ("OPTIONS", "*"), ("PUT", f"{VERSION}/invocation/next"),
    ],
)  # fmt: skip
def test_what_is_not_served(host: Host, method: str, path: str) -> None:
    host.run([0])
    assert host.answered(method, path).status == 404
    assert host.next().status == 200


@pytest.mark.parametrize("path", ["/", f"{VERSION}/invocation/next"])
def test_a_request_whose_answer_has_no_body(host: Host, path: str) -> None:
    """It is hung up on, and the pool goes on."""
    host.run([0])
    asked = host.ask("HEAD", path)
    host.until(asked.done, "it is hung up on")
    with pytest.raises(OSError, match=r"closed|reset"):
        asked.result()
    assert host.next().status == 200


def test_who_asks_again_on_other_connections(host: Host) -> None:
    """The last one to ask is given the task; those before it are hung up on, and their descriptors are others' then."""
    host.run([0])
    host.respond(host.next().request_id, 0)
    for _ in range(3):
        before = [*host.pool._sandboxes[0].parked]
        host.ask("GET", f"{VERSION}/invocation/next")
        host.until(lambda before=before: host.pool._sandboxes[0].parked not in ([], before), "it waits")  # type: ignore[misc]
    name, _, port = host.ports()[-1].partition(":")
    sockets = [socket.socket() for _ in range(4)]  # they take the lowest numbers that are free; the agent's come after
    first = host.ask("GET", f"{VERSION}/invocation/next")
    host.until(lambda: len(host.pool._sandboxes[0].connections) == 1, "the others are gone")
    for raw in sockets:
        raw.connect((name, int(port)))
    host.until(lambda: len(host.pool._sandboxes[0].connections) == 5, "they are known")
    host.run(["second"])
    host.until(first.done, "it is given the task")
    assert first.result().body == b'"second"'
    for raw in sockets:
        raw.close()


def test_who_says_nothing_has_its_place_for_a_while_only(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither at once, nor in the middle of a head; who waits for a task may wait."""
    monkeypatch.setattr(http_connection, "HEAD_SECONDS", 0.2)
    host.run([0])
    host.respond(host.next().request_id, 0)
    waiting = host.ask("GET", f"{VERSION}/invocation/next")
    name, _, port = host.ports()[-1].partition(":")
    with socket.create_connection((name, int(port))), socket.create_connection((name, int(port))) as begun:
        begun.sendall(b"GET / HTTP/1.1\r\nHost:")
        host.until(lambda: len(host.pool._sandboxes[0].connections) == 3, "they are there")
        host.until(lambda: len(host.pool._sandboxes[0].connections) == 1, "they are hung up on")
    host.run(["second"])
    host.until(waiting.done, "it is given the task")
    assert waiting.result().body == b'"second"'


def test_another_host_name_is_refused(host: Host) -> None:
    """A page in a browser may reach the port under a name of its own."""
    host.run([0])
    assert host.next(Host="rebound.example:80").status == 403
    assert host.next().status == 200


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100_000, b"\0" * 200_000],
    ids=["tls", "short", "endless head", "zeros"],
)
def test_nonsense_costs_its_connection_only(host: Host, garbage: bytes) -> None:
    host.run([0])
    name, _, port = host.until(host.ports, "a worker started")[-1].partition(":")
    with socket.create_connection((name, int(port))) as raw:

        def hung_up() -> bool:
            raw.setblocking(False)
            try:
                return raw.recv(1) == b""
            except BlockingIOError:
                return False
            except ConnectionResetError:
                return True

        sent = host.threads.submit(_send, raw, garbage)
        host.until(sent.done, "it is sent, or refused")
        host.until(hung_up, "the agent hangs up")
    assert host.next().status == 200


def _send(raw: socket.socket, data: bytes) -> None:
    try:
        raw.sendall(data)
    except OSError:
        return  # the agent was quicker


def test_many_connections_do_not_starve_the_client(host: Host) -> None:
    host.run([0])
    name, _, port = host.until(host.ports, "a worker started")[-1].partition(":")
    told = host.next()
    idle = [socket.create_connection((name, int(port))) for _ in range(12)]
    try:
        assert host.respond(told.request_id, 1).status == 202
    finally:
        for raw in idle:
            raw.close()


def test_a_body_in_chunks_and_one_that_waits_to_be_asked_for(host: Host) -> None:
    host.run([0, 1])
    name, _, port = host.until(host.ports, "a worker started")[-1].partition(":")
    path = f"POST {VERSION}/invocation/{host.next().request_id}/response HTTP/1.1\r\nHost: {name}:{port}\r\n"
    with socket.create_connection((name, int(port))) as raw:
        raw.sendall(path.encode() + b'Transfer-Encoding: chunked\r\n\r\n3\r\n"ab\r\n2\r\nc"\r\n0\r\n\r\n')
        assert result_of(host.outcome()) == "abc"
    path = f"POST {VERSION}/invocation/{host.next().request_id}/response HTTP/1.1\r\nHost: {name}:{port}\r\n"
    with socket.create_connection((name, int(port))) as raw:
        raw.sendall(path.encode() + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        asked = host.threads.submit(raw.recv, 100)
        host.until(asked.done, "it is asked for the body")
        assert asked.result().startswith(b"HTTP/1.1 100")
        raw.sendall(b'"ok"')
        assert result_of(host.outcome()) == "ok"


@pytest.mark.parametrize("body", [b"", b"{", b"not JSON", b"\xff\xfe", b'{"a":1} extra', b"[" * 100_000])
def test_a_result_that_is_not_json(host: Host, body: bytes) -> None:
    host.run([0, 1])
    told = host.next()
    assert host.answered("POST", f"{VERSION}/invocation/{told.request_id}/response", body).status == 400
    assert error_of(host.outcome()).type == "InvalidResult"
    assert host.next().body == b"1"


def test_a_result_that_is_too_large(host: Host) -> None:
    host.run([0, 1])
    told = host.next()
    body = b'"' + b"x" * limits.MAX_RESULT_BYTES + b'"'
    assert host.answered("POST", f"{VERSION}/invocation/{told.request_id}/response", body).status == 413
    assert "over 67,108,864" in error_of(host.outcome()).message
    assert host.next().body == b"1"


@pytest.mark.parametrize(
    ("body", "header", "expected"),
    [
        (b'{"errorType":"E","errorMessage":"m","stackTrace":[]}', None, TaskError("E", "m")),
        (b'{"errorMessage":"m"}', "Function.Odd", TaskError("Function.Odd", "m")),
        (
            b'{"errorType":"E","errorMessage":"m","trace":["E: m","  at f (x.js:1)"]}',
            None,
            TaskError("E", "m", "E: m\n  at f (x.js:1)"),
        ),
        (b'{"errorType":"E","errorMessage":"m","stackTrace":"as text"}', None, TaskError("E", "m", "as text")),
        (b'{"errorType":"Runtime.MarshalError","errorMessage":"m"}', None, TaskError("InvalidResult", "m")),
        (b"just text", None, TaskError("Unhandled", "just text")),
        (b"", None, TaskError("Unhandled", "the runtime gave no reason")),
        (b"[1]", "E", TaskError("E", "[1]")),
        (b"[" * 200_000, "E", TaskError("E", "[" * 16_000)),
        (b'{"stackTrace":' + b"[" * 200_000, None, TaskError("Unhandled", '{"stackTrace":' + "[" * 15_986)),
        (b'{"errorType":{"a":1},"errorMessage":[2]}', None, TaskError("{'a': 1}", "[2]")),
    ],
)  # fmt: skip
def test_shapes_of_errors(host: Host, body: bytes, header: str | None, expected: TaskError) -> None:
    host.run([0])
    told = host.next()
    headers = {"Lambda_Runtime_Function_Error_Type": header} if header else {}
    answer = host.answered("POST", f"{VERSION}/invocation/{told.request_id}/error", body, **headers)
    assert answer.status == 202
    assert error_of(host.outcome()) == expected


def test_an_endless_error_is_cut(host: Host) -> None:
    host.run([0])
    told = host.next()
    body = json.dumps({"errorType": "E" * 1000, "errorMessage": "m" * 10**6, "stackTrace": ["x" * 10**6]}).encode()
    host.answered("POST", f"{VERSION}/invocation/{told.request_id}/error", body)
    error = error_of(host.outcome())
    assert len(error.type) + len(error.message) + len(error.traceback) < 40_000


def test_an_init_error_ends_the_worker(host: Host) -> None:
    chunk = host.run([0])
    pid = host.worker().pid
    body = json.dumps({"errorType": "ImportError", "errorMessage": "no module x", "stackTrace": ["line 1\n"]}).encode()
    assert host.answered("POST", f"{VERSION}/init/error", body).status == 202
    failed = host.first(LoadFailed)
    assert failed.serial == chunk.serial
    assert failed.error.type == "InitError"
    assert "no module x" in failed.error.message
    assert not is_alive(pid)


# Death


def test_a_worker_that_died_waiting_does_not_swallow_the_next_event(tmp_path: Path) -> None:
    with hosted(tmp_path, ECHO) as host:
        host.run(["first"])
        assert result_of(host.outcome()) == "first"
        _until_parked(host)
        dead = host.worker()
        os.killpg(dead.pid, signal.SIGKILL)
        eventually(lambda: not is_alive(dead.pid), "it is dead, and the agent has not looked")
        host.run(["second"])
        assert result_of(host.outcome()) == "second"
        assert not [event for event in host.events if not isinstance(event, Used)]


def test_an_event_that_a_dying_client_has_not_read_goes_to_the_next(tmp_path: Path) -> None:
    with hosted(tmp_path, ECHO) as host:
        host.run(["first"])
        assert result_of(host.outcome()) == "first"
        _until_parked(host)
        worker = host.worker()
        os.killpg(worker.pid, signal.SIGSTOP)
        eventually(lambda: _all_stopped(worker), "all of it stands still")
        host.run(["second"])
        assert host.pool.running(0) is not None, "it was given the task, and cannot read it"
        os.killpg(worker.pid, signal.SIGKILL)
        assert result_of(host.outcome()) == "second"
        assert not [event for event in host.events if not isinstance(event, Used)]


def test_a_client_that_dies_alone_while_it_waits(tmp_path: Path) -> None:
    """Only curl dies; the script asks again."""
    script = ECHO.replace("while curl -sS", "while curl -sS || curl -sS")
    with hosted(tmp_path, script) as host:
        host.run(["first"])
        assert result_of(host.outcome()) == "first"
        _until_parked(host)
        curl = host.worker().children()[0]
        curl.suspend()
        eventually(lambda: curl.status() == psutil.STATUS_STOPPED, "it stands still")
        host.run(["second"])
        curl.kill()
        assert result_of(host.outcome()) == "second"


def _until_parked(host: Host) -> None:
    host.until(lambda: host.pool._sandboxes[0].parked, "it waits for a task")


def _all_stopped(process: psutil.Process) -> bool:
    return all(one.status() == psutil.STATUS_STOPPED for one in [process, *process.children(recursive=True)])


def test_a_worker_that_dies_with_a_task_is_charged_with_it(host: Host) -> None:
    chunk = host.run([0, 1])
    host.next()
    host.worker().kill()
    lost = host.first(WorkerLost)
    assert lost.running == (chunk.serial, 0)
    assert lost.error.type == "WorkerCrashed"


def test_a_worker_that_is_killed_for_its_time(host: Host) -> None:
    chunk = host.run([0, 1])
    host.next()
    host.pool.kill(0, TaskError("TaskTimeout", "Task timed out after 1 seconds"))
    lost = host.first(WorkerLost)
    assert (lost.running, lost.error.type) == ((chunk.serial, 0), "TaskTimeout")
    assert host.pool.running(0) is None


def test_a_late_answer_of_a_killed_worker_is_worth_nothing(host: Host) -> None:
    host.run([0])
    told = host.next()
    address = host.ports()[-1]
    host.pool.kill(0, TaskError("TaskTimeout", "Task timed out after 1 seconds"))
    host.first(WorkerLost)
    with pytest.raises(OSError, match=r"refused|reset"):
        ask(address, "POST", f"{VERSION}/invocation/{told.request_id}/response", b"1")


def test_what_has_not_begun_is_taken_back(host: Host) -> None:
    first = host.run([0, 1, 2])
    second = host.run([3, 4])
    assert host.pool.revoke(0) == [], "it has not asked for anything yet"
    told = host.next()
    assert host.pool.revoke(0) == [(first.serial, 1), (second.serial, 0)]
    host.respond(told.request_id, "done")
    parked = host.ask("GET", f"{VERSION}/invocation/next")
    host.run(["third"])
    host.until(parked.done, "it is given what came later")
    assert parked.result().body == b'"third"'


def test_workers_have_ports_of_their_own(tmp_path: Path) -> None:
    with hosted(tmp_path, slots=2) as host:
        host.run(["of slot 0"], slot=0)
        host.until(lambda: len(host.ports()) == 1, "one worker")
        host.run(["of slot 1"], slot=1)
        first, second = host.until(lambda: len(host.ports()) == 2 and host.ports(), "two workers") or []
        assert host.next(address=second).body == b'"of slot 1"'
        assert host.next(address=first).body == b'"of slot 0"'
        for address in (first, second):
            assert address.startswith("127.0.0.1:")


def test_closing_leaves_nothing_behind(tmp_path: Path) -> None:
    descriptors = psutil.Process().num_fds()
    with hosted(tmp_path, slots=3) as host:
        for slot in range(3):
            host.run([slot], slot=slot)
        host.until(lambda: len(host.ports()) == 3, "three workers")
        pids = [host.worker(slot).pid for slot in range(3)]
    assert not [pid for pid in pids if is_alive(pid)]
    assert psutil.Process().num_fds() <= descriptors


def test_a_quoted_request_id(host: Host) -> None:
    """As AWS's client for Node writes it, to whom a slash is no part of a name."""
    host.run([0])
    assert host.respond(host.next().request_id.replace("/", "%2F"), "done").status == 202
    assert result_of(host.outcome()) == "done"
