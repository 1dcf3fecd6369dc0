"""All the ports of one grid, together: what the services are given."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from htcgrid_core.domain import limits
from htcgrid_core.domain.prices import FREE, Prices
from htcgrid_core.domain.retention import STANDARD, Retention
from htcgrid_core.ports.audit_log import NO_AUDIT, AuditLog
from htcgrid_core.ports.blob_store import BlobStore
from htcgrid_core.ports.bundle_queue import BundleQueue
from htcgrid_core.ports.clock import Clock
from htcgrid_core.ports.dead_letters import DeadLetters
from htcgrid_core.ports.doorbell import Doorbell
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.messenger import NO_MESSENGER, Messenger
from htcgrid_core.ports.metrics import NO_METRICS, Metrics
from htcgrid_core.ports.outbox import NO_OUTBOX, Outbox
from htcgrid_core.ports.part_urls import PartUrls
from htcgrid_core.ports.session_store import SUBMITTER, SessionStore
from htcgrid_core.ports.traces import NO_TRACES, Traces

T = TypeVar("T")


class Together(Protocol):
    """Makes two calls, in no order where each takes long."""

    def __call__(self, first: Callable[[], T], second: Callable[[], object]) -> T:
        """What ``first`` returns, once both are over; of what they raise, that of ``first``."""


def one_by_one(first: Callable[[], T], second: Callable[[], object]) -> T:
    """The second call if the first raised nothing: for planes that answer within a fraction of a millisecond."""
    found = first()
    second()
    return found


def random_token() -> str:
    """128 random bits, as hex."""
    return os.urandom(16).hex()


@dataclass(frozen=True)
class Plane:
    """The data and control planes of one grid.

    Attributes:
        keys: with which pickled payloads are signed.
        time_slice_seconds: after which an agent commits what is done and shares the rest.
        inline_payload_bytes: larger payloads go to the blob store.
        token: makes lease tokens; an argument so that a simulation repeats.
        metrics: what is counted; by nobody, unless an agent serves them.
        traces: where spans of what this process does go.
        outbox: who is still to be told of which session's end.
        messenger: tells them.
        audit: who did what; by nobody, unless somebody keeps it.
        actor: who acts where nobody has signed in, for the audit: this process.
        prices: of what its sessions take, as they are now; it may raise InvalidInput.
        retention: how long tenants' sessions may be kept, as it is now; it may raise InvalidInput.
        url: by which the tasks that it runs reach it; empty for not at all.
        identity: what tells this grid from others, however it is named; empty where there is no other.
        region: of AWS, in which it is; empty for none.
        together: makes two calls that need not wait for each other.
        one_bundle_tasks: up to so many tasks are one bundle where there is one agent, since each bundle takes calls.
        part_urls: by which clients put parts of uploads into the blobs themselves; None where they cannot.
        dead_letters: what its queues gave up; None where no queue does.
    """

    store: SessionStore
    queue: BundleQueue
    blobs: BlobStore
    clock: Clock
    doorbell: Doorbell
    keys: Keyring
    time_slice_seconds: float
    inline_payload_bytes: int = field(default_factory=lambda: limits.INLINE_PAYLOAD_BYTES)
    rng: random.Random = field(default_factory=random.SystemRandom, repr=False)
    token: Callable[[], str] = random_token
    metrics: Metrics = NO_METRICS
    traces: Traces = NO_TRACES
    outbox: Outbox = NO_OUTBOX
    messenger: Messenger = NO_MESSENGER
    audit: AuditLog = NO_AUDIT
    actor: Callable[[], str] = lambda: SUBMITTER
    prices: Callable[[], Prices] = lambda: FREE
    retention: Callable[[], Retention] = lambda: STANDARD
    url: str = ""
    identity: str = ""
    region: str = ""
    together: Together = one_by_one
    one_bundle_tasks: int = 0
    part_urls: PartUrls | None = None
    dead_letters: DeadLetters | None = None
