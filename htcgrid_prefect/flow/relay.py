"""Relaying what workers report to Prefect's API, in bulk, by one thread."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.logging import get_logger

from htcgrid_prefect.flow.console import Console
from htcgrid_prefect.shared.sink import Request

ITEMS_AT_ONCE = 500
BYTES_AT_ONCE = 1 << 20
PAUSE_SECONDS = 0.05  # so that what comes close together goes together
RETRY_SECONDS = 1.0
LAST_SECONDS = 30.0  # for an API that does not answer when the runner stops

logger = get_logger("htcgrid")


class Relay:
    """Sends events and logs to the API; keeps them while it does not answer."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._console = Console()
        self._events: list[bytes] = []
        self._logs: list[bytes] = []
        self._requests: list[Request] = []
        self._closed_at: float | None = None
        context = contextvars.copy_context()  # settings are in it
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="htcgrid-relay", daemon=True)
        self._thread.start()

    def put(self, events: Sequence[bytes], logs: Sequence[bytes]) -> None:
        """Take JSON objects for ``/events`` and ``/logs``, and show the logs on the console."""
        self._console.show(events, logs)
        with self._news:
            self._events += events
            self._logs += logs
            self._news.notify()

    def ask(self, request: Request) -> None:
        """Take a call of the client, made after the events that were put before."""
        with self._news:
            self._requests.append(request)
            self._news.notify()

    def close(self) -> None:
        """Send what there is; says so if the API does not take it."""
        with self._news:
            self._closed_at = time.monotonic()
            self._news.notify()
        self._thread.join()

    def _run(self) -> None:
        with get_client(sync_client=True) as client:
            while True:
                with self._news:
                    while not (self._events or self._logs or self._requests or self._closed_at):
                        self._news.wait()
                    closed = self._closed_at
                if not closed:
                    time.sleep(PAUSE_SECONDS)
                with self._news:
                    events, self._events = self._events, []
                    logs, self._logs = self._logs, []
                    requests, self._requests = self._requests, []
                self._post(client, "/events", events)
                self._post(client, "/logs/", logs)
                for request in requests:
                    self._tried(lambda request=request: request(client), "a change of an artifact")  # type: ignore[misc]
                if closed:
                    return

    def _post(self, client: SyncPrefectClient, path: Literal["/events", "/logs/"], items: list[bytes]) -> None:
        def post(body: bytes) -> httpx.Response:
            return client.request("POST", path, content=body, headers={"content-type": "application/json"})

        for part in _parts(items):
            body = b"[" + b",".join(part) + b"]"
            self._tried(lambda body=body: post(body), f"{len(part)} items for {path}")  # type: ignore[misc]

    def _tried(self, call: Callable[[], Any], what: str) -> None:
        """Call until it succeeds, is refused, or the runner has been closed for too long."""
        while True:
            try:
                call()
                return
            except httpx.HTTPStatusError as error:
                if error.response.status_code < 500 and error.response.status_code != 429:
                    logger.error("Prefect's API refuses %s: %s", what, error.response.text[:1000])
                    return
                problem: Exception = error
            except httpx.TransportError as error:
                problem = error
            if self._closed_at and time.monotonic() > self._closed_at + LAST_SECONDS:
                logger.error(
                    "Prefect's API did not take %s: %r. The results themselves are not affected", what, problem
                )
                return
            time.sleep(RETRY_SECONDS)


def _parts(items: list[bytes]) -> Iterator[list[bytes]]:
    """Cut where a request would get too large."""
    part: list[bytes] = []
    size = 0
    for item in items:
        if part and (len(part) == ITEMS_AT_ONCE or size + len(item) > BYTES_AT_ONCE):
            yield part
            part, size = [], 0
        part.append(item)
        size += len(item)
    if part:
        yield part
