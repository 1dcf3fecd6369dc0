"""A client of the REST API for tests: the standard library's, which knows nothing of this project."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

JSON, NDJSON = "application/json", "application/x-ndjson"
TIMEOUT_SECONDS = 90.0  # only a test that would hang for ever notices it


@dataclass
class Answer:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        """Its body, of JSON lines."""
        return [json.loads(line) for line in self.body.splitlines()]


@dataclass
class Rest:
    """Asks one server, with one key."""

    url: str
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def connection(self) -> http.client.HTTPConnection:
        """One more connection."""
        parts = urlsplit(self.url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)

    def sent(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Any = None,
        *,
        media: str = JSON,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> http.client.HTTPResponse:
        """Send a request; its response's body is still to be read."""
        said = {**self.headers, **(headers or {})}
        if self.token:
            said.setdefault("Authorization", f"Bearer {self.token}")
        if body is not None:
            said.setdefault("Content-Type", media)
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path + (f"?{urlencode(query, doseq=True)}" if query else ""), body, said)
        return connection.getresponse()

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """One request, on a connection of its own."""
        connection = self.connection()
        try:
            response = self.sent(connection, method, path, body, **options)
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Answer:
        """GET."""
        return self.ask("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        """POST."""
        return self.ask("POST", path, {} if body is None else body, **options)

    def put(self, path: str, body: Any, **options: Any) -> Answer:
        """PUT."""
        return self.ask("PUT", path, body, **options)

    def ended(self, session_id: str) -> dict[str, Any]:
        """A session once it is over."""
        while True:
            found = self.post("/v1/wait", {"sessions": [session_id]}).json
            if found["done"]:
                session: dict[str, Any] = found["sessions"][0]
                return session

    def lines(self, path: str, **options: Any) -> Iterator[bytes]:
        """The lines of a stream, as they come."""
        connection = self.connection()
        try:
            yield from self.sent(connection, "GET", path, **options)
        finally:
            connection.close()
