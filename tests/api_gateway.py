"""API Gateway's HTTP API before a Lambda function, as AWS documents both: events of payload format 2.0, and limits.

Each environment of the function is a process, which has one event at a time. Whoever asks while all are busy gets a new
one.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LAMBDA_BYTES = 6 * 1024 * 1024  # of an event, and of an answer, as JSON
GATEWAY_BYTES = 10 * 1024 * 1024  # of a request
ANSWER_SECONDS = 30.0
AS_TEXT = ("text/", "application/json", "application/xml", "application/javascript")  # others are in base64
ACCOUNT, API = "123456789012", "a1b2c3d4e5"
DOMAIN = f"{API}.execute-api.eu-west-1.amazonaws.com"
NOT_TOLD = {"connection", "content-length", "date", "server", "transfer-encoding"}  # of an answer: the gateway's own


class Environment:
    """One process of the function."""

    def __init__(self, module: str, variables: Mapping[str, str], *, freezes: bool) -> None:
        self._freezes = freezes
        command = [sys.executable, "-m", "tests.function_sandbox", module]
        environ = {**os.environ, "AWS_LAMBDA_FUNCTION_NAME": "rest-api", **variables}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)

    def invoke(self, event: bytes) -> bytes:
        """Its answer to one event."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        if self._freezes:
            process.send_signal(signal.SIGCONT)
        process.stdin.write(event + b"\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if self._freezes:
            process.send_signal(signal.SIGSTOP)
        return answer

    def end(self) -> None:
        """It is not needed any more."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


class Function:
    """A Lambda function.

    Args:
        freezes: whether an environment's process stands still between its events, as Lambda's do.

    Attributes:
        largest: bytes of the largest event, and of the largest answer.
        faults: what a function should never let happen.
    """

    def __init__(self, module: str, variables: Mapping[str, str], *, freezes: bool) -> None:
        self._module, self._variables, self._freezes = module, variables, freezes
        self._idle: queue.LifoQueue[Environment] = queue.LifoQueue()
        self._all: list[Environment] = []
        self._lock = threading.Lock()
        self._has_ended = False
        self.largest = [0, 0]
        self.faults: list[str] = []

    def __call__(self, event: Any) -> Any:
        """Invoke it; None if its answer is none that Lambda passes on.

        Raises:
            ValueError: the event is too large.
        """
        sent = json.dumps(event, ensure_ascii=False).encode()
        if len(sent) > LAMBDA_BYTES:
            raise ValueError
        try:
            environment = self._idle.get_nowait()
        except queue.Empty:
            environment = Environment(self._module, self._variables, freezes=self._freezes)
            with self._lock:
                self._all.append(environment)
        answer = environment.invoke(sent)
        self._idle.put(environment)
        self.largest = [max(self.largest[0], len(sent)), max(self.largest[1], len(answer))]
        if self._has_ended:
            return None
        if len(answer) > LAMBDA_BYTES or not answer:
            self.faults.append(f"an answer of {len(answer):,} bytes to {event.get('rawPath')}")
            return None
        found = json.loads(answer)
        if "errorType" in found:
            self.faults.append(f"{event.get('rawPath')}: {found}")
            return None
        return found

    @property
    def environments(self) -> int:
        """That were made."""
        return len(self._all)

    def end(self) -> None:
        """No process of it is left."""
        self._has_ended = True
        for environment in self._all:
            environment.end()


def event_of(method: str, target: str, headers: Mapping[str, str], body: bytes, iam: str = "") -> dict[str, Any]:
    """The event of a request.

    Args:
        target: path and query, as they were sent.
        headers: with names in small letters.
        iam: the ARN of who signed it, if the route asks for that.
    """
    parts = urlsplit(target)
    kind = headers.get("content-type", "")
    is_text = not body or kind.startswith(AS_TEXT)
    authorizer = {
        "iam": {
            "accessKey": "AKIAIOSFODNN7EXAMPLE", "accountId": ACCOUNT, "callerId": "AIDAJDPLRKLG7UEXAMPLE",
            "cognitoIdentity": None, "principalOrgId": "o-example", "userArn": iam, "userId": "AIDAJDPLRKLG7UEXAMPLE",
        }
    }  # fmt: skip
    return {
        "version": "2.0",
        "routeKey": "ANY /{proxy+}",
        "rawPath": unquote(parts.path),
        "rawQueryString": parts.query,
        "headers": {**headers, "host": DOMAIN, "x-forwarded-proto": "https", "x-forwarded-port": "443"},
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": API,
            **({"authorizer": authorizer} if iam else {}),
            "domainName": DOMAIN,
            "domainPrefix": API,
            "http": {
                "method": method, "path": unquote(parts.path), "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "ANY /{proxy+}",
            "stage": "$default",
            "time": "29/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1795953600000,
        },
        "pathParameters": {"proxy": unquote(parts.path).lstrip("/")},
        **({"body": body.decode() if is_text else base64.b64encode(body).decode()} if body else {}),
        "isBase64Encoded": not is_text,
    }  # fmt: skip


class _Gateway(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    function: Function
    iam: str

    def _pass_on(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        if len(body) > GATEWAY_BYTES:
            self._say(413, {}, b'{"message":"Request Entity Too Large"}')
            return
        began = time.monotonic()
        try:
            answer = self.function(event_of(self.command, self.path, headers, body, self.iam))
        except ValueError:
            self._say(413, {}, b'{"message":"Request Entity Too Large"}')
            return
        if time.monotonic() - began > ANSWER_SECONDS:
            self.function.faults.append(f"no answer to {self.path} in time")
            self._say(503, {}, b'{"message":"Service Unavailable"}')
        elif answer is None:
            self._say(500, {}, b'{"message":"Internal Server Error"}')
        else:
            text = answer.get("body", "")
            data = base64.b64decode(text, validate=True) if answer.get("isBase64Encoded") else text.encode()
            self._say(answer["statusCode"], answer.get("headers", {}), data)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = _pass_on  # noqa: N815 - names of its base

    def _say(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in NOT_TOLD:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its base's name
        """No log."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went."""


@contextmanager
def api_gateway(
    module: str, variables: Mapping[str, str], *, freezes: bool = False, iam: str = ""
) -> Iterator[tuple[str, Function]]:
    """An HTTP API before a function; its URL on this machine. At its end, nothing is to have gone over a limit.

    Args:
        iam: the ARN of who has signed all requests, as the gateway found.
    """
    function = Function(module, variables, freezes=freezes)
    handler = type("Gateway", (_Gateway,), {"function": function, "iam": iam})
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", function
    finally:
        server.shutdown()
        server.server_close()
        function.end()
    assert function.faults == []
