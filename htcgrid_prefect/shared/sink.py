"""Where events and logs of task runs go: in the flow's process to Prefect's API, in a worker into its task's report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from prefect.client.orchestration import SyncPrefectClient

Request = Callable[[SyncPrefectClient], Any]


class Sink(Protocol):
    """Where events and logs of task runs go."""

    def put(self, events: Sequence[bytes], logs: Sequence[bytes]) -> None:
        """Take JSON objects."""

    def ask(self, request: Request) -> None:
        """Take something else to ask the API for."""

    def close(self) -> None:
        """Send what there is."""
