"""AWS's client for Python as Lambda runs it: a server of its own, with what AWS documents, and none of the grid."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

ROOT = "1-4bf92f35-77b34da6a3ce929d0e0e4736"
END_SECONDS = 60.0


@dataclass(frozen=True)
class Told:
    """What came of one invocation.

    Attributes:
        failed: whether it raised.
        value: what was returned, or the error's type and message.
        stdout: what it printed.
    """

    failed: bool
    value: Any
    stdout: str


@dataclass
class Reference:
    """A function in an environment like Lambda's."""

    name: str
    printed: IO[bytes]
    asked: queue.Queue[tuple[str, bytes]]
    answered: queue.Queue[tuple[bool, Any]]

    def invoke(self, events: Sequence[Any]) -> list[Told]:
        """Invoke it with one event after another."""
        told = []
        for event in events:
            before = os.fstat(self.printed.fileno()).st_size
            self.asked.put((str(uuid.uuid4()), json.dumps(event).encode()))
            failed, value = self.answered.get(timeout=END_SECONDS)
            text = os.pread(self.printed.fileno(), 1 << 20, before).decode()
            told.append(Told(failed, value, text))
        return told


@contextmanager
def reference(python: Path, folder: Path, handler: str, name: str, variables: Mapping[str, str]) -> Iterator[Reference]:
    """Start AWS's client for a function.

    Args:
        python: the interpreter, in whose environment the client and the libraries are.
        variables: the function's own.
    """
    with contextlib.ExitStack() as stack:
        printed = stack.enter_context(tempfile.TemporaryFile())
        found = Reference(name, printed, queue.Queue(), queue.Queue())
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(found))
        stack.callback(server.server_close)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        documented = {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": "{}:{}".format(*server.server_address[:2]),
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": "1",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/29/[1]0123456789abcdef",
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "LAMBDA_TASK_ROOT": str(folder),
            "LAMBDA_RUNTIME_DIR": str(folder),
            "PYTHONPATH": str(folder),
            "_HANDLER": handler,
            "TZ": ":UTC",
        }
        client = subprocess.Popen(
            [python, "-m", "awslambdaric", handler],
            cwd=folder,
            env={**documented, **variables},
            stdout=printed,
            stdin=subprocess.DEVNULL,
        )
        stack.callback(client.wait)
        stack.callback(client.kill)
        yield found


def _handler_for(found: Reference) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            who, event = found.asked.get()
            self.send_response(200)
            self.send_header("Lambda-Runtime-Aws-Request-Id", who)
            self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + 30) * 1000)))
            arn = f"arn:aws:lambda:eu-west-1:123456789012:function:{found.name}:1"
            self.send_header("Lambda-Runtime-Invoked-Function-Arn", arn)
            parent = uuid.uuid4().hex[:16]
            self.send_header("Lambda-Runtime-Trace-Id", f"Root={ROOT};Parent={parent};Sampled=1")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(event)))
            self.end_headers()
            self.wfile.write(event)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            failed = not self.path.endswith("/response")
            value = json.loads(body)
            found.answered.put((failed, [value["errorType"], value["errorMessage"]] if failed else value))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            return

    return Handler
