"""An AWS in trouble: a proxy before an emulator that throttles, breaks or keeps silent, as it is told."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from tests.aws.proxy import Forwarder, Proxy

THROTTLED = b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"too many"}'
EXPIRED = b'{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The security token has expired"}'
BROKEN = b'{"__type":"InternalServerError","message":"broken"}'


class TroubledAws:
    """A proxy and its mood.

    Attributes:
        url: to be used in the place of the emulator's.
        mood: "well" passes everything on, "throttles", "breaks" and "expires" refuse what goes to DynamoDB, "silent"
            answers nothing at all until it is well again.
        asked: DynamoDB's operations, by how often they were asked for.
        objects: what S3 was asked for, method and path, by how often.
    """

    def __init__(self, upstream: str) -> None:
        self._well = threading.Event()
        self.asked: Counter[str] = Counter()
        self.objects: Counter[tuple[str, str]] = Counter()
        self.be("well")
        self._server = _Server(upstream, self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def be(self, mood: Literal["well", "throttles", "breaks", "expires", "silent"]) -> None:
        """Change the mood."""
        self.mood = mood
        (self._well.clear if mood == "silent" else self._well.set)()

    def close(self) -> None:
        """No more requests."""
        self._well.set()
        self._server.shutdown()
        self._server.server_close()

    def refusal(self, method: str, path: str, target: str) -> tuple[int, bytes] | None:
        """Status and body that a request is refused with in this mood; None for one that is passed on."""
        self._well.wait()
        if not target:
            self.objects[method, path.partition("?")[0]] += 1
        if not target.startswith("DynamoDB"):
            return None
        self.asked[target.rpartition(".")[2]] += 1
        return {"throttles": (400, THROTTLED), "expires": (400, EXPIRED), "breaks": (500, BROKEN)}.get(self.mood)


class _Server(Proxy):
    def __init__(self, upstream: str, aws: TroubledAws) -> None:
        super().__init__(0, upstream, _Handler)
        self.aws = aws


class _Handler(Forwarder):
    server: _Server

    def forward(self) -> None:
        body = self.body()
        refusal = self.server.aws.refusal(self.command, self.path, self.headers.get("X-Amz-Target", ""))
        try:
            if refusal is None:
                self.answer(*self.ask(self.command, self.path, body))
            else:
                self.answer(refusal[0], {"Content-Type": "application/x-amz-json-1.0"}, refusal[1])
        except OSError:
            self.close_connection = True  # whoever asked has given up

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward  # noqa: N815 - the base class's names


@contextmanager
def troubled(upstream: str) -> Iterator[TroubledAws]:
    """A proxy before the emulator at ``upstream``."""
    aws = TroubledAws(upstream)
    try:
        yield aws
    finally:
        aws.close()
