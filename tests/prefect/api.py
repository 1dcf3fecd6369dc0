"""What the server knows, asked over HTTP, until it does."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import httpx

from tests.e2e.support import eventually


@functools.cache
def _client() -> httpx.Client:
    """One for all: making one takes longer than asking."""
    return httpx.Client(timeout=30)


def api(url: str, path: str, **body: Any) -> Any:
    """The server's answer."""
    answer = _client().post(f"{url}{path}", json=body)
    answer.raise_for_status()
    return answer.json()


def session_events(url: str, session_id: str, *, until: str) -> list[dict[str, Any]]:
    """The events of a session, oldest first, once the last of them is there."""
    resource = {"id": [f"htcgrid.session.{session_id}"]}

    def found() -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = api(
            url, "/events/filter", filter={"resource": resource, "order": "ASC"}, limit=50
        )["events"]
        return events if any(event["event"] == until for event in events) else []

    return eventually(found, f"the server has {until} of {session_id}")


def artifacts(url: str, key: str, *, when: Callable[[list[dict[str, Any]]], object] = bool) -> list[dict[str, Any]]:
    """All artifacts of a key, once they are as they should be."""

    def found() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = api(url, "/artifacts/filter", artifacts={"key": {"any_": [key]}})
        return rows if when(rows) else []

    return eventually(found, f"the artifacts {key}")
