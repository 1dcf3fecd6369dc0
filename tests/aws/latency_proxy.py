"""``python -m tests.aws.latency_proxy URL SECONDS``: a way to an emulator that takes as long as one within a region.

Prints its own URL, and forwards whatever comes, each piece after so many seconds, in its order.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.aws.emulators import REPOSITORY

PIECE_BYTES = 1 << 16
Piece = tuple[float, bytes]


async def _read(reader: asyncio.StreamReader, pieces: asyncio.Queue[Piece], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    while piece := await reader.read(PIECE_BYTES):
        pieces.put_nowait((loop.time() + seconds, piece))
    pieces.put_nowait((loop.time() + seconds, b""))


async def _write(pieces: asyncio.Queue[Piece], writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due_at, piece = await pieces.get()
        await asyncio.sleep(due_at - loop.time())
        if not piece:
            break
        writer.write(piece)
        await writer.drain()
    writer.close()


async def serve(host: str, port: int, seconds: float) -> None:
    """Forward connections for ever: what is asked takes ``seconds``, the answer comes at once."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, port)
        asked: asyncio.Queue[Piece] = asyncio.Queue()
        answered: asyncio.Queue[Piece] = asyncio.Queue()
        await asyncio.gather(
            _read(reader, asked, seconds),
            _write(asked, far_writer),
            _read(far_reader, answered, 0.0),
            _write(answered, writer),
            return_exceptions=True,  # whichever side closes first
        )

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


@contextmanager
def away(url: str, seconds: float) -> Iterator[str]:
    """The emulator's URL as seen from a distance."""
    if not seconds:
        yield url
        return
    command = [sys.executable, "-m", "tests.aws.latency_proxy", url, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def main() -> None:
    """Read the command line."""
    url, seconds = sys.argv[1:]
    where = urlsplit(url)
    asyncio.run(serve(where.hostname or "", where.port or 80, float(seconds)))


if __name__ == "__main__":
    main()
