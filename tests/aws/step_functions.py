"""A stub of what Step Functions answers to tasks' tokens, with AWS's documented codes: no emulator has them all."""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_OUTPUT, MAX_CAUSE, MAX_ERROR, MAX_TOKEN = 262_144, 32_768, 256, 2048


@dataclass
class Task:
    """One that waits.

    Attributes:
        told: what ended it: "success" with its output, or the error's name with its cause.
        said: what it was told, also when it had ended.
    """

    told: tuple[str, Any] | None = None
    said: set[str] = field(default_factory=set)
    is_over: bool = False
    beats: int = 0


@dataclass
class StepFunctions:
    """The tasks, and what is answered instead of the truth for a while.

    Attributes:
        calls: operations, in order.
        instead: codes for the next calls: an error that has no effect, or "dropped": applied, and not answered.
        mood: what is answered instead where ``instead`` says nothing.
        accepts_all: whether a task waits under any token.
        counted: calls by operation.
    """

    tasks: dict[str, Task] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    instead: deque[str] = field(default_factory=deque)
    url: str = ""
    accepts_all: bool = False
    mood: Callable[[], str] = lambda: ""
    counted: Counter[str] = field(default_factory=Counter)

    def task(self, token: str) -> Task:
        """A task that waits under this token."""
        return self.tasks.setdefault(token, Task())

    def answer(self, operation: str, request: dict[str, Any]) -> str:
        """Apply a call: the error's code, or nothing."""
        token = request["taskToken"]
        if not 0 < len(token) <= MAX_TOKEN:
            return "ValidationException"
        if len(request.get("output", "").encode()) > MAX_OUTPUT or len(request.get("cause", "")) > MAX_CAUSE:
            return "ValidationException"
        if len(request.get("error", "")) > MAX_ERROR:
            return "ValidationException"
        task = self.task(token) if self.accepts_all else self.tasks.get(token)
        if task is None:
            return "InvalidToken"
        if operation != "SendTaskHeartbeat":
            task.said.add(json.dumps([request.get("output"), request.get("error"), request.get("cause")]))
        if task.is_over:
            return "TaskTimedOut"
        match operation:
            case "SendTaskHeartbeat":
                task.beats += 1
            case "SendTaskSuccess":
                task.told, task.is_over = ("success", json.loads(request["output"])), True
            case "SendTaskFailure":
                task.told, task.is_over = (request["error"], json.loads(request["cause"])), True
        return ""


@contextmanager
def step_functions() -> Iterator[StepFunctions]:
    """The stub, served."""
    stub = StepFunctions()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            return

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            stub.calls.append(operation)
            stub.counted[operation] += 1
            instead = stub.instead.popleft() if stub.instead else stub.mood()
            code = instead if instead not in ("", "dropped") else stub.answer(operation, request)
            if instead == "dropped":
                self.close_connection = True
                return
            said = {"__type": code, "message": f"{code} of {request['taskToken']}"} if code else {}
            body = json.dumps(said).encode()
            self.send_response(400 if code else 200)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
