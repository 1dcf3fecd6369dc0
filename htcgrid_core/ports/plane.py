"""All the ports of one grid, together: what the services are given."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from htcgrid_core.domain import limits
from htcgrid_core.ports.blob_store import BlobStore
from htcgrid_core.ports.bundle_queue import BundleQueue
from htcgrid_core.ports.clock import Clock
from htcgrid_core.ports.doorbell import Doorbell
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.messenger import NO_MESSENGER, Messenger
from htcgrid_core.ports.metrics import NO_METRICS, Metrics
from htcgrid_core.ports.outbox import NO_OUTBOX, Outbox
from htcgrid_core.ports.session_store import SessionStore


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
        outbox: who is still to be told of which session's end.
        messenger: tells them.
        url: by which the tasks that it runs reach it; empty for not at all.
        identity: what tells this grid from others, however it is named; empty where there is no other.
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
    outbox: Outbox = NO_OUTBOX
    messenger: Messenger = NO_MESSENGER
    url: str = ""
    identity: str = ""
