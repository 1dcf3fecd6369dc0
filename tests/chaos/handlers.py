"""What the tasks of the chaos run do; every execution leaves a trace and a result of its own."""

from __future__ import annotations

import os
import time
from typing import Any

from htcgrid_core import Context

Event = dict[str, Any]


def value_of(n: int, kind: str) -> Any:
    """The part of a result that is the same in every execution."""
    return "x" * 20_000 if kind == "large" else n * n


def work(event: Event, context: Context) -> list[Any]:
    """Note the execution, take a while, then fail or return ``[n, value, nonce]``; the nonce is never the same."""
    nonce = os.urandom(8).hex()
    with open(event["trace"], "a") as trace:
        trace.write(f"{os.getpid()} {context.session_id} {context.task_index} {context.attempt} {nonce}\n")
    time.sleep(event["seconds"])
    if event["kind"] == "bad" or (event["kind"] == "flaky" and context.attempt < 3):
        raise ValueError(f"{event['kind']} task {event['n']}")
    if event["kind"] == "crashing" and context.attempt < 2:
        os._exit(11)
    return [event["n"], value_of(event["n"], event["kind"]), nonce]
