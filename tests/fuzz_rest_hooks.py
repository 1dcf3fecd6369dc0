"""Hooks of schemathesis for ``tests.fuzz_rest``: bodies that are no JSON, short waits, a function that is there."""

# mypy: allow-untyped-decorators

from __future__ import annotations

import json
from typing import Any

import schemathesis

SECONDS = 0.2


@schemathesis.serializer("application/zip")
def serialize(context: Any, value: Any) -> Any:
    """As it is, or as text."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> Any:
    """One value."""
    return json.dumps(value).encode()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Waits are made short; half of the sessions are of a function that is there."""
    body, query = case.body, case.query
    if isinstance(body, dict) and isinstance(body.get("timeout"), int | float) and case.path == "/v1/wait":
        body["timeout"] = min(body["timeout"], SECONDS)
    if isinstance(body, dict) and isinstance(body.get("wait"), int | float):
        body["wait"] = min(body["wait"], SECONDS)
    if case.path.endswith("/watch") and isinstance(query, dict):
        query.setdefault("timeout", SECONDS)
        if isinstance(query["timeout"], int | float):
            query["timeout"] = min(query["timeout"], SECONDS)
    function = body.get("function") if case.path == "/v1/sessions" and isinstance(body, dict) else None
    if isinstance(function, str) and len(function) % 2:
        body["function"] = "pricing"
