"""A proxy before an emulator that gives answers of AWS's that no emulator does, as often as it is told."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.aws.proxy import Forwarder, Proxy


@dataclass
class Answer:
    """What is answered in the emulator's place.

    Attributes:
        call: the operation's name, such as CreateQueue; or of S3, method and path.
        times: how often; then the emulator answers.
    """

    call: str
    status: int
    body: str
    times: int = 2


class ScriptedAws(Proxy):
    """The proxy.

    Attributes:
        url: to be used in the place of the emulator's.
        asked: calls, by how often.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(0, upstream, _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.answers: list[Answer] = []
        self.asked: Counter[str] = Counter()

    def answer_to(self, call: str) -> Answer | None:
        """What to answer to a call; None for what the emulator does."""
        self.asked[call] += 1
        for answer in self.answers:
            if answer.call == call and answer.times:
                answer.times -= 1
                return answer
        return None


class _Handler(Forwarder):
    server: ScriptedAws

    def forward(self) -> None:
        target = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        body = self.body()
        found = self.server.answer_to(target or f"{self.command} {self.path}")
        now = {"Date": self.date_time_string()}
        if found is None:
            status, headers, answer = self.ask(self.command, self.path, body)
            self.answer(status, {**headers, **now}, answer)
        else:
            kind = "application/xml" if found.body.startswith("<") else "application/x-amz-json-1.0"
            self.answer(found.status, {"Content-Type": kind, **now}, found.body.encode())

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward  # noqa: N815 - the base class's names


@contextmanager
def scripted(upstream: str) -> Iterator[ScriptedAws]:
    """A proxy before the emulator at ``upstream``, which does nothing yet."""
    aws = ScriptedAws(upstream)
    threading.Thread(target=aws.serve_forever, daemon=True).start()
    try:
        yield aws
    finally:
        aws.shutdown()
        aws.server_close()
