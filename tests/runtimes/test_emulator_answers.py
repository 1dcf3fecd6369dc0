"""What clients are answered where AWS's Runtime Interface Emulator has an answer, and what becomes of the task."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core.agent.memory import available_mb
from htcgrid_core.agent.workers.runtime_api import commands, requests
from htcgrid_core.codecs.outcomes import decode_error
from htcgrid_core.domain import limits
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.worker import Flushed, LoadFailed, WorkerLost
from tests.runtimes.clients import VERSION, Host, hosted
from tests.runtimes.test_protocol import error_of, result_of

TOLD = TaskError("PricingError", "no curve", "PricingError: no curve")
JSON_ERROR = json.dumps({"errorType": TOLD.type, "errorMessage": TOLD.message, "trace": [TOLD.traceback]}).encode()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A pool of one worker, whose client is the test."""
    with hosted(tmp_path) as host:
        yield host


def streamed(host: Host, chunks: list[bytes], end: bytes, headers: str = "", what: str = "response") -> bytes:
    """Answer the next invocation in chunks, and hang up; what was answered to that."""
    told = host.next()
    name, _, port = host.ports()[-1].partition(":")
    head = (
        f"POST {VERSION}/invocation/{told.request_id}/{what} HTTP/1.1\r\nHost: {name}:{port}\r\n"
        f"Transfer-Encoding: chunked\r\n{headers}\r\n"
    )
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    with socket.create_connection((name, int(port))) as raw:
        raw.sendall(head.encode() + body + end)
        raw.shutdown(socket.SHUT_WR)
        answer = host.threads.submit(_read_all, raw)
        host.until(answer.done, "it is answered")
        return answer.result()


def _read_all(raw: socket.socket) -> bytes:
    data = b""
    while more := raw.recv(1 << 16):
        data += more
    return data


@pytest.mark.parametrize(
    ("trailers", "expected"),
    [
        ([b"PricingError", base64.b64encode(JSON_ERROR)], TOLD),
        ([b"Function.Odd", b"not base64!"], TaskError("Function.Odd", "the runtime gave no reason")),
        ([b"Function.Odd", b"\xff"], TaskError("Function.Odd", "the runtime gave no reason")),
        ([b"Function.Odd", None], TaskError("Function.Odd", "the runtime gave no reason")),
        ([b"Function.Odd", base64.b64encode(b"as text")], TaskError("Function.Odd", "as text")),
    ],
)  # fmt: skip
def test_a_streamed_response_that_ends_with_an_error(
    host: Host, trailers: list[bytes | None], expected: TaskError
) -> None:
    """Whatever of it had been sent is no result, even if it is JSON."""
    host.run([0, 1])
    names = (b"Lambda-Runtime-Function-Error-Type", b"Lambda-Runtime-Function-Error-Body")
    lines = [b"%b: %b\r\n" % (name, value) for name, value in zip(names, trailers, strict=True) if value is not None]
    answer = streamed(
        host, [b'{"half":', b"1}"], b"0\r\n" + b"".join(lines) + b"\r\n",
        "Lambda-Runtime-Function-Response-Mode: streaming\r\n"
        "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n",
    )  # fmt: skip
    assert answer.startswith(b"HTTP/1.1 202")
    assert error_of(host.outcome()) == expected
    assert host.next().body == b"1"


def test_what_cannot_be_answered_ends_its_worker_alone(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a client sends: the agent goes on, and charges the task with it."""
    chunk = host.run([0, 1])
    told = host.next()
    monkeypatch.setattr(requests, "posted", lambda *_: 1 // 0)
    with pytest.raises(ConnectionError):
        host.respond(told.request_id, "done")
    lost = host.first(WorkerLost)
    assert (lost.running, lost.error.type) == ((chunk.serial, 0), "WorkerCrashed")
    assert "ZeroDivisionError" in lost.error.message
    monkeypatch.undo()
    host.run(["second"])
    told = host.next(address=host.until(lambda: len(host.ports()) == 2 and host.ports(), "another one")[-1])  # type: ignore[index]
    assert told.body == b'"second"'


def test_a_streamed_response(host: Host) -> None:
    host.run([0])
    streaming = "Lambda-Runtime-Function-Response-Mode: streaming\r\nContent-Type: application/octet-stream\r\n"
    assert streamed(host, [b"[1", b",2]"], b"0\r\n\r\n", streaming).startswith(b"HTTP/1.1 202")
    assert result_of(host.outcome()) == [1, 2]


@pytest.mark.parametrize("end", [b"", b"5\r\nab", b"nonsense\r\n"], ids=["between chunks", "in a chunk", "nonsense"])
def test_a_response_that_is_cut_off(host: Host, end: bytes) -> None:
    """It is no result, although what came is JSON; the next task is given out."""
    host.run([0, 1])
    answer = streamed(host, [b"[1,2]"], end)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"TruncatedHTTPRequest" in answer
    error = error_of(host.outcome())
    assert error.type == "Runtime.TruncatedResponse"
    assert "cut off after" in error.message
    assert host.next().body == b"1"
    assert host.respond("s-tests/1/1", "done").status == 202
    assert result_of(host.outcome()) == "done"


def test_an_error_that_is_cut_off_is_told_as_far_as_it_came(host: Host) -> None:
    host.run([0, 1])
    streamed(host, [b'{"errorMess'], b"", "Lambda-Runtime-Function-Error-Type: PricingError\r\n", what="error")
    assert error_of(host.outcome()) == TaskError("PricingError", '{"errorMess')
    assert host.next().body == b"1"


DIES_ANSWERING = f"""#!/usr/bin/env python3
import os, re, signal, socket
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
api = socket.create_connection((host, int(port)))
api.sendall(f"GET {VERSION}/invocation/next HTTP/1.1\\r\\nHost: {{host}}:{{port}}\\r\\n\\r\\n".encode())
who = re.search("(?i)aws-request-id: (.*)\\r", api.recv(65536).decode())[1]
head = f"POST {VERSION}/invocation/{{who}}/response HTTP/1.1\\r\\nHost: {{host}}:{{port}}\\r\\n"
api.sendall(head.encode() + b"Content-Length: 100\\r\\n\\r\\n[1,")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_response_that_its_workers_death_cut_off_is_a_crash(tmp_path: Path) -> None:
    """Of what the worker's own process had begun to send, its end says more."""
    with hosted(tmp_path, DIES_ANSWERING) as host:
        chunk = host.run([0])
        lost = host.first(WorkerLost)
        assert lost.running == (chunk.serial, 0)
        assert lost.error.type == "WorkerCrashed"
        assert "SIGKILL" in lost.error.message
        assert not [event for event in host.events if isinstance(event, Flushed)]


def test_a_response_mode_that_is_none(host: Host) -> None:
    host.run([0, 1])
    told = host.next()
    path = f"{VERSION}/invocation/{told.request_id}/response"
    answer = host.answered("POST", path, b"1", Lambda_Runtime_Function_Response_Mode="buffered")
    assert (answer.status, json.loads(answer.body)["errorType"]) == (400, "InvalidFunctionResponseMode")
    assert error_of(host.outcome()).type == "Runtime.InvalidResponseModeHeader"
    assert host.next().body == b"1"


def test_an_init_error_of_who_has_been_loaded_is_refused(host: Host) -> None:
    host.run([0])
    told = host.next()
    refused = host.answered("POST", f"{VERSION}/init/error", JSON_ERROR)
    assert (refused.status, json.loads(refused.body)["errorType"]) == (403, "InvalidStateTransition")
    assert host.respond(told.request_id, "done").status == 202
    assert result_of(host.outcome()) == "done"
    assert not [event for event in host.events if isinstance(event, LoadFailed)]


def test_w3c_trace_context_is_where_clients_look_for_it(host: Host) -> None:
    host.run([0], traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01", tracestate="desk=rates")
    context = json.loads(host.next().headers["lambda-runtime-client-context"])
    assert context["w3c"]["traceparent"] == context["custom"]["traceparent"]
    assert context["w3c"]["traceparent"].startswith(f"00-{'ab' * 16}-")
    assert context["w3c"]["tracestate"] == "desk=rates"


def test_w3c_without_a_state(host: Host) -> None:
    host.run([0])
    assert set(json.loads(host.next().headers["lambda-runtime-client-context"])["w3c"]) == {"traceparent"}


@pytest.mark.parametrize("state", ["desk=zürich", "desk=a\nb", "desk=\x7f"])
def test_a_trace_state_that_is_no_ascii_is_left_out(host: Host, state: str) -> None:
    """Sessions of earlier versions have such ones."""
    host.run([0], traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01", tracestate=state)
    context = json.loads(host.next().headers["lambda-runtime-client-context"])
    assert set(context["w3c"]) == {"traceparent"}
    assert context["w3c"]["traceparent"].startswith(f"00-{'ab' * 16}-")


@pytest.mark.parametrize("region", ["zürich", " eu-west-1", "eu\nwest", "☃"])
def test_a_region_that_is_none_is_in_no_header(host: Host, region: str) -> None:
    host.run([0], package_options={"variables": {"AWS_REGION": region}})
    assert host.next().headers["lambda-runtime-invoked-function-arn"].startswith("arn:aws:lambda:local:")


def test_an_invocation_id_is_of_one_handing_out(host: Host) -> None:
    """Who sends it back is answered by it; who does not know of it need not."""
    host.run([0, 1])
    told = host.next()
    path = f"{VERSION}/invocation/{told.request_id}/response"
    wrong = host.answered("POST", path, b"1", Lambda_Runtime_Invocation_Id="another")
    assert (wrong.status, json.loads(wrong.body)["errorType"]) == (400, "InvalidRequestID")
    own = told.headers["lambda-runtime-invocation-id"]
    assert host.answered("POST", path, b"1", Lambda_Runtime_Invocation_Id=own).status == 202
    assert host.next().headers["lambda-runtime-invocation-id"] != own


def test_what_node_cannot_encode_is_an_invalid_result(host: Host) -> None:
    host.run([0])
    told = host.next()
    body = {"errorType": "Runtime.JSONStringifyError", "errorMessage": "Unable to stringify response body"}
    host.answered("POST", f"{VERSION}/invocation/{told.request_id}/error", json.dumps(body).encode())
    assert error_of(host.outcome()) == TaskError("InvalidResult", "Unable to stringify response body")


@pytest.mark.parametrize("text", ["", "plain text\n", '{"a": 1}', "42", "ünïcödé ☃ 🚀", 'quoted "\\ \x00'])
def test_text_is_a_string_for_functions_that_ask_for_it(host: Host, text: str) -> None:
    host.run([0], package_options={"result_format": "text"})
    told = host.next()
    path = f"{VERSION}/invocation/{told.request_id}/response"
    assert host.answered("POST", path, text.encode()).status == 202
    assert result_of(host.outcome()) == text


@pytest.mark.parametrize("body", [b"\xff\xfe", b"\x01" * (limits.MAX_RESULT_BYTES // 5)], ids=["no UTF-8", "too large"])
def test_text_that_is_no_result(host: Host, body: bytes) -> None:
    host.run([0, 1], package_options={"result_format": "text"})
    told = host.next()
    assert host.answered("POST", f"{VERSION}/invocation/{told.request_id}/response", body).status in (400, 413)
    assert error_of(host.outcome()).type == "InvalidResult"
    assert host.next().body == b"1"


def test_the_memory_of_a_worker_is_never_none(host: Host) -> None:
    """Libraries divide by it, and compare with it."""
    function = host.run([0]).function
    assert commands.environment(function, "")["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == str(available_mb())
    assert available_mb() > 1
    function = host.run([0], memory_mb=256).function
    assert commands.environment(function, "")["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, {"NO_PROXY": "127.0.0.1"}),
        ({"NO_PROXY": "a.example, .internal,"}, {"NO_PROXY": "a.example, .internal,127.0.0.1"}),
        ({"no_proxy": "a.example"}, {"NO_PROXY": "a.example,127.0.0.1", "no_proxy": "a.example,127.0.0.1"}),
        ({"no_proxy": "a", "NO_PROXY": "b"}, {"NO_PROXY": "b,127.0.0.1", "no_proxy": "a,127.0.0.1"}),
        ({"NO_PROXY": "*"}, {"NO_PROXY": "*"}),
        ({"no_proxy": "", "NO_PROXY": ""}, {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}),
    ],
)
def test_hosts_that_a_function_asks_without_a_proxy(host: Host, own: dict[str, str], expected: dict[str, str]) -> None:
    function = host.run([0], package_options={"variables": own}).function
    found = commands.environment(function, "127.0.0.1:1")
    assert {name: value for name, value in found.items() if name.lower() == "no_proxy"} == expected


def test_a_client_has_the_time_of_its_task_for_what_it_does_after_its_answer(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Lambda, where an invocation ends when its client asks for the next one."""
    host.run([0], task_timeout_seconds=3600)
    host.respond(host.next().request_id, "done")
    host.outcome()
    monkeypatch.setattr(limits, "WORKER_START_SECONDS", 0.0)
    host.run(["second"], task_timeout_seconds=3600)
    sandbox = host.pool._sandboxes[0]
    assert not sandbox.is_late(time.monotonic() + 3599)
    assert sandbox.is_late(time.monotonic() + 3601)


def test_an_answer_that_is_refused_says_so_in_lambdas_terms(host: Host) -> None:
    host.run([0])
    told = host.next()
    answer = host.answered("POST", f"{VERSION}/invocation/{told.request_id}/response", b"{")
    assert decode_error(answer.body).type == "InvalidResult"
