"""What the suites of the gateway start from: sessions of one small handler, and their ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.codecs.events import EncodedEvent, encoded
from htcgrid_core.codecs.tasks import decoded
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.gateway.protocol import Gateway, Waiter
from htcgrid_core.testing import handlers
from htcgrid_core.testing.contracts.facts import PATIENCE_SECONDS

HANDLER = f"{handlers.__name__}.{handlers.task.__name__}"
FOR_EVER = {"sleep": 600}
UNKNOWN = "s-nobody-knows-it"
Work = Callable[[], None]


class GivenGateway:
    """The fixtures of each suite. A grid serves many tests: none looks at what is not its own."""

    @pytest.fixture
    def gateway(self) -> Gateway:
        """The gateway of a grid whose workers can import this package."""
        raise NotImplementedError

    @pytest.fixture
    def work(self) -> Work:
        """Has the grid do what waits; of a grid whose agents do that by themselves, nothing."""
        return lambda: None


def spec(function: FunctionSpec | None = None, **options: Any) -> SessionSpec:
    """Of sessions whose tasks are tried once."""
    return SessionSpec(function=function or FunctionSpec(name=HANDLER), retry=RetryPolicy(max_attempts=1), **options)


def submitted(
    gateway: Gateway,
    events: Sequence[Any],
    *,
    token: str | None = None,
    of: SessionSpec | None = None,
    sent: Iterable[EncodedEvent] | None = None,
) -> SessionRecord:
    """A session of these events.

    Args:
        sent: the events as they are sent, if not encoded as the spec says.
    """
    of = of or spec()
    sent = encoded(of.codec, events) if sent is None else sent
    session_id = session_id_of(token, of.tenant)
    return gateway.submit(session_id, of, sent, total=len(events), idempotent=token is not None)


def ended(gateway: Gateway, record: SessionRecord, work: Work) -> SessionRecord:
    """The session once it is over."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with gateway.waiter() as waiter:
        work()
        while not (now := gateway.session(record.session_id)).ended:
            assert time.monotonic() < deadline, f"session {record.session_id} does not end"
            waiter.wait(1.0, [record.session_id])
    return now


def done(gateway: Gateway, events: Sequence[Any], work: Work, **options: Any) -> SessionRecord:
    """A session of these events that is over."""
    return ended(gateway, submitted(gateway, events, **options), work)


def spec_of(record: SessionRecord) -> SessionSpec:
    """What a session asked for."""
    return record.parsed_spec()


def seen(gateway: Gateway, record: SessionRecord, state: Any = None) -> dict[int, TaskOutcome]:
    """Tasks as their user sees them, by index; none of them twice."""
    found = [task for page in gateway.tasks(record, state) for task in decoded(spec_of(record), page)]
    by_index = {task.index: task for task in found}
    assert len(by_index) == len(found)
    return by_index


def patiently(waiter: Waiter, until: Callable[[], bool]) -> None:
    """Wait for news until something is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not until():
        assert time.monotonic() < deadline, "no news"
        waiter.wait(1.0)
