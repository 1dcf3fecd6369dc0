"""The planes of a grid on AWS, found by its name."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.doorbell import ProcessDoorbell
from htcgrid_core.adapters.aws.dynamodb.audit_log import AuditItems, DynamoAuditLog
from htcgrid_core.adapters.aws.dynamodb.outbox import DynamoOutbox
from htcgrid_core.adapters.aws.dynamodb.registry import DynamoRegistry
from htcgrid_core.adapters.aws.dynamodb.store import DynamoStore
from htcgrid_core.adapters.aws.keys import SsmKeys
from htcgrid_core.adapters.aws.messenger import AwsMessenger
from htcgrid_core.adapters.aws.parameter import GridParameter, read_parameter
from htcgrid_core.adapters.aws.s3.blobs import S3Blobs
from htcgrid_core.adapters.aws.s3.cache import BlobCache
from htcgrid_core.adapters.aws.s3.objects import S3Objects
from htcgrid_core.adapters.aws.s3.part_urls import S3PartUrls
from htcgrid_core.adapters.aws.sqs.dead_letters import SqsDeadLetters
from htcgrid_core.adapters.aws.sqs.queue import SqsQueue
from htcgrid_core.adapters.local.clock import SystemClock
from htcgrid_core.adapters.messenger import WorldMessenger
from htcgrid_core.adapters.traces import process_traces
from htcgrid_core.cloud.address import Address
from htcgrid_core.cloud.starting import Reading, once
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.disk.private import make_private
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.domain.prices import PRICES
from htcgrid_core.domain.retention import Retention
from htcgrid_core.local import kept, this_process
from htcgrid_core.local.settings import PREFIX, AgentTimes
from htcgrid_core.ports.clock import Clock
from htcgrid_core.ports.dead_letters import DeadLetter, look_at, taken
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.metrics import NO_METRICS, Metrics
from htcgrid_core.ports.plane import Plane

if TYPE_CHECKING:
    import boto3

T = TypeVar("T")

CACHE_VARIABLE = "HTCGRID_CACHE"
SYSTEM_CLOCK = SystemClock()
LEASE_VARIABLE = f"{PREFIX}LEASE_SECONDS"
CACHE_BYTES_VARIABLE = f"{PREFIX}CACHE_BYTES"


@dataclass(frozen=True)
class CloudPlane:
    """The planes, with what only this kind of grid has."""

    plane: Plane
    queue: SqsQueue
    doorbell: ProcessDoorbell
    dead_letters: SqsDeadLetters
    clients: Clients
    parameter: GridParameter
    times: AgentTimes
    cache: Path
    registry: DynamoRegistry
    objects: S3Objects

    def prepare_cache(self) -> None:
        """Make the cache's folder, or see that nobody else can change it.

        Raises:
            GridUnavailable: it cannot be used.
        """
        try:
            make_private(self.cache)
        except OSError as error:
            text = f"the cache of this machine cannot be used: {error}; {CACHE_VARIABLE} may name another folder"
            raise GridUnavailable(text) from error

    def look_at_dead_letters(self, limit: int) -> list[DeadLetter]:
        """See ``ports.dead_letters.look_at``."""
        return look_at(self.dead_letters, limit)

    def take_dead_letters(self, limit: int) -> list[DeadLetter]:
        """See ``ports.dead_letters.taken``."""
        return taken(self.dead_letters, limit)

    def close(self) -> None:
        """Hand back and send what is left, and close the connections."""
        self.queue.close()
        self.clients.close()


def open_cloud(
    address: Address,
    session: boto3.Session | None = None,
    metrics: Metrics = NO_METRICS,
    clock: Clock = SYSTEM_CLOCK,
    reading: Reading = once,
) -> CloudPlane:
    """The planes of the grid that an address names.

    Args:
        session: whose credentials are used, instead of those that the address names.
        metrics: in which is counted what this process does.
        clock: whose wall clock may differ from others'.
        reading: how parameter and keys are read.

    Raises:
        InvalidInput: the environment's settings of agents are no good.
        UnknownGrid, IncompatibleGrid, AccessDenied, GridUnavailable: it cannot be used; nothing was written.
    """
    clients = Clients(address.settings, session, metrics)
    parameter = reading(lambda: read_parameter(clients, address.name))
    keys = reading(lambda: Keyring(SsmKeys(clients, address.name, parameter.key)))
    defaults = {
        LEASE_VARIABLE: str(parameter.defaults.lease_seconds),
        CACHE_BYTES_VARIABLE: str(parameter.defaults.cache_bytes),
    }
    times = AgentTimes.from_environment({**defaults, **os.environ})
    doorbell = ProcessDoorbell()
    queue = SqsQueue(
        clients,
        parameter.queues,
        ring=lambda: doorbell.ring(WORK),
        hidden_seconds=times.lease_seconds,
        wall=clock.now,
    )
    audit = AuditItems(kept.audit_seconds(os.environ, parameter.defaults.audit_days))
    store = DynamoStore(lambda: clients.dynamodb, parameter.table, audit=audit)
    cache = cache_folder(address.name)
    blob_cache = BlobCache(DiskCache(cache, times.cache_bytes))
    dead_letters = SqsDeadLetters(clients, parameter.queues)
    plane = Plane(
        store=store,
        queue=queue,
        blobs=S3Blobs(clients, parameter.bucket, blob_cache, parameter.account),
        clock=clock,
        doorbell=doorbell,
        keys=keys,
        time_slice_seconds=limits.TIME_SLICE_SECONDS,
        inline_payload_bytes=limits.AWS_INLINE_PAYLOAD_BYTES,
        url=address.in_tasks(clients.region).url,
        identity=f"aws:{parameter.bucket}/{parameter.table}",
        region=clients.region,
        part_urls=S3PartUrls(clients, parameter.bucket, parameter.account),
        metrics=metrics,
        traces=process_traces(),
        outbox=DynamoOutbox(store.table),
        audit=DynamoAuditLog(store.table, audit),
        actor=this_process.actor,
        prices=partial(kept.prices, os.environ, PRICES),
        retention=kept.retention_rules(os.environ, Retention(parameter.defaults.retention)),
        messenger=WorldMessenger(lambda: AwsMessenger(clients)),
        together=at_once,
        one_bundle_tasks=limits.AWS_ONE_BUNDLE_TASKS,
        dead_letters=dead_letters,
    )
    return CloudPlane(
        plane,
        queue,
        doorbell,
        dead_letters,
        clients,
        parameter,
        times,
        cache,
        DynamoRegistry(store.table),
        S3Objects(clients),
    )


def at_once(first: Callable[[], T], second: Callable[[], object]) -> T:
    """Two calls at the same time: see ``ports.plane.Together``."""
    raised: list[Exception] = []

    def call() -> None:
        try:
            second()
        except Exception as error:  # noqa: BLE001 - raised below
            raised.append(error)

    thread = threading.Thread(target=call, name="htcgrid-beside")
    thread.start()
    try:
        found = first()
    finally:
        thread.join()
    for error in raised:
        raise error
    return found


def cache_folder(name: str) -> Path:
    """Where this machine keeps what it fetched from grid ``name``: ``$HTCGRID_CACHE``, or a folder of this user."""
    root = os.environ.get(CACHE_VARIABLE)
    if root:
        return Path(root).absolute() / name
    return Path(tempfile.gettempdir(), f"htcgrid-{os.getuid()}-{name}").absolute()
