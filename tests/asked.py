"""A server's application in the test's own process, asked without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson

from htcgrid_core.api.app import application
from htcgrid_core.api.auth.authenticator import Authenticator, KeyWay
from htcgrid_core.api.auth.keys import KeyFile, write_keys
from htcgrid_core.api.console.browser import BrowserWay
from htcgrid_core.api.console.routes import console_routes
from htcgrid_core.api.console.sign_ins import SignIns
from htcgrid_core.api.guard import Guard
from htcgrid_core.api.rates import Rates
from htcgrid_core.api.service import Service, Settings
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.served import ServedGrid
from tests.planes import StillDeployment, memory_plane
from tests.served import key

JSON = "application/json"


@dataclass
class Answered:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The body, read."""
        return orjson.loads(self.body)


class Application:
    """One over a grid in memory that has no agents; nothing of it runs between requests."""

    def __init__(self, folder: Path, origins: Sequence[str] = ()) -> None:
        who = key("desk")
        write_keys(folder / "keys.json", [who])
        self.secret = who.secret
        self.plane = memory_plane(folder)
        gateway = InProcessGateway(StillDeployment(self.plane))
        keys = KeyFile(folder / "keys.json")
        self.sign_ins = SignIns(keys)
        self.service = Service(
            ServedGrid(gateway),
            Authenticator([KeyWay(keys), BrowserWay(self.sign_ins)]),
            Guard(["here"], origins),
            Rates(None),
            Settings(in_background=False),
        )
        self._application = application(self.service, console_routes(self.service, self.sign_ins))
        self._runner = asyncio.Runner()  # what they share is of one loop

    def close(self) -> None:
        """End."""
        self._runner.close()

    def ask(
        self, method: str, path: str, body: Any = b"", media: str = JSON, headers: Mapping[str, str] | None = None
    ) -> Answered:
        """Ask once."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        told = {"host": "here", "authorization": f"Bearer {self.secret}", "content-type": media, **(headers or {})}
        sent = [(name.lower().encode(), value.encode()) for name, value in told.items() if value]
        scope = {
            "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": unquote(path),
            "raw_path": path.encode(), "root_path": "", "query_string": b"",
            "headers": [*sent, (b"content-length", str(len(data)).encode())],
        }  # fmt: skip
        answered, asked = Answered(), [{"type": "http.request", "body": data, "more_body": False}]

        async def receive() -> Any:
            if not asked:
                await asyncio.Event().wait()
            return asked.pop()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answered.status = message["status"]
                answered.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                answered.body += message.get("body", b"")

        async def main() -> None:
            async with asyncio.timeout(60):
                await self._application(scope, receive, send)

        self._runner.run(main())
        return answered
