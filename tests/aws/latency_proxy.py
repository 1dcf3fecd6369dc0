"""``python -m tests.aws.latency_proxy URL [SQS_URL]``: a way to emulators that takes as long as AWS does in a region.

Prints its own URL, and forwards whatever comes: half of a service's time before each call, half before its answer.
Queues may be another emulator's. It tells what it has forwarded to whoever asks for ``/_calls``.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.aws.emulators import REPOSITORY

SECONDS = {"dynamodb": 0.006, "sqs": 0.012, "s3": 0.025}  # of a call, in a region
PIECE_BYTES = 1 << 16
CALLS = "/_calls"
_TARGET = re.compile(rb"(?im)^x-amz-target: *(DynamoDB|AmazonSQS|AmazonSSM)\w*\.(\w+)\r?$")
_HEAD = re.compile(rb"(GET|PUT|POST|DELETE|HEAD) (\S+) HTTP/1")
_SERVICES = {b"DynamoDB": "dynamodb", b"AmazonSQS": "sqs", b"AmazonSSM": "ssm"}
Piece = tuple[float, bytes]


def called(head: bytes) -> tuple[str, str] | None:
    """Service and operation of a request; None if it does not begin here."""
    line = _HEAD.match(head)
    if line is None:
        return None
    target = _TARGET.search(head)
    return ("s3", line[1].decode()) if target is None else (_SERVICES[target[1]], target[2].decode())


@dataclass(eq=False)
class Connection:
    """One connection of a client, whose calls come one after the other."""

    half: float = 0.0  # of the time that the call under way takes


class Proxy:
    """Forwards to one emulator, and to another what is for queues: each service's client has connections of its own."""

    def __init__(self, url: str, sqs_url: str) -> None:
        self._url = urlsplit(url)
        self._sqs_url = urlsplit(sqs_url)
        self._calls: Counter[str] = Counter()

    async def serve(self) -> None:
        """Forward connections for ever."""
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(PIECE_BYTES)
        if first.startswith(b"GET " + CALLS.encode()):
            body = json.dumps(self._calls).encode()
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            writer.close()
            return
        service, _ = called(first) or ("", "")
        to = self._sqs_url if service == "sqs" else self._url
        far_reader, far_writer = await asyncio.open_connection(to.hostname, to.port)
        asked: asyncio.Queue[Piece] = asyncio.Queue()
        answered: asyncio.Queue[Piece] = asyncio.Queue()
        connection = Connection()
        await asyncio.gather(
            self._read_calls(first, reader, asked, connection),
            _write(asked, far_writer),
            _read_answers(far_reader, answered, connection),
            _write(answered, writer),
            return_exceptions=True,  # whichever side closes first
        )

    async def _read_calls(
        self, piece: bytes, reader: asyncio.StreamReader, pieces: asyncio.Queue[Piece], connection: Connection
    ) -> None:
        loop = asyncio.get_running_loop()
        while piece:
            if call := called(piece):
                service, operation = call
                self._calls[f"{service} {operation}"] += 1
                connection.half = SECONDS.get(service, 0.0) / 2
            pieces.put_nowait((loop.time() + connection.half, piece))
            piece = await reader.read(PIECE_BYTES)
        pieces.put_nowait((loop.time() + connection.half, b""))


async def _read_answers(reader: asyncio.StreamReader, pieces: asyncio.Queue[Piece], connection: Connection) -> None:
    loop = asyncio.get_running_loop()
    while piece := await reader.read(PIECE_BYTES):
        pieces.put_nowait((loop.time() + connection.half, piece))
    pieces.put_nowait((loop.time() + connection.half, b""))


async def _write(pieces: asyncio.Queue[Piece], writer: asyncio.StreamWriter) -> None:
    """Write each piece at its time, in their order."""
    loop = asyncio.get_running_loop()
    while True:
        due_at, piece = await pieces.get()
        await asyncio.sleep(due_at - loop.time())
        if not piece:
            break
        writer.write(piece)
        await writer.drain()
    writer.close()


@dataclass(frozen=True)
class Away:
    """An emulator as seen from a distance.

    Attributes:
        url: by which it is reached.
    """

    url: str

    def calls(self) -> Counter[str]:
        """What was called so far, by service and operation."""
        with urllib.request.urlopen(self.url + CALLS, timeout=10) as answer:
            return Counter(json.load(answer))


@contextmanager
def away(url: str, sqs_url: str | None = None) -> Iterator[Away]:
    """A way to an emulator that takes its time; queues may be another one's."""
    command = [sys.executable, "-m", "tests.aws.latency_proxy", url, sqs_url or url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        try:
            yield Away(process.stdout.readline().strip())
        finally:
            process.kill()


def main() -> None:
    """Read the command line."""
    asyncio.run(Proxy(*sys.argv[1:]).serve())


if __name__ == "__main__":
    main()
