"""The session store on DynamoDB: each write is one conditional step, each condition part of the write."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from htcgrid_core.adapters.aws.dynamodb.agents import Roster
from htcgrid_core.adapters.aws.dynamodb.coalescing import Coalescer
from htcgrid_core.adapters.aws.dynamodb.committing import Committing
from htcgrid_core.adapters.aws.dynamodb.ending import Ending
from htcgrid_core.adapters.aws.dynamodb.held_leases import HeldLeases
from htcgrid_core.adapters.aws.dynamodb.leasing import Leasing
from htcgrid_core.adapters.aws.dynamodb.page_order import Directory
from htcgrid_core.adapters.aws.dynamodb.reading import Reading
from htcgrid_core.adapters.aws.dynamodb.row_cache import RowCache
from htcgrid_core.adapters.aws.dynamodb.submitting import Submitting
from htcgrid_core.adapters.aws.dynamodb.table import BATCH_READ, TRANSACTION, Table, pause

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

AT_ONCE = 1000  # threads that write the same end


class DynamoStore(Submitting, Leasing, Committing, Ending, Reading, Roster):
    """Sessions, bundles and outcomes of one table: one part of the port a file. May be used from many threads.

    Args:
        client: gives boto3's DynamoDB client; called for each call, so that a forked child gets one of its own.
        table: its name (``tables.create_table`` says how it is made).
        lanes: over how many partitions a session's bundles and counters are spread, at most 98; if that is not said, as
            many as its agents need.
        whole_lanes: the same for sessions that are written in one step, which are small.
        sleep: waits before a call is tried again, for a number of seconds.
    """

    def __init__(
        self,
        client: Callable[[], DynamoDBClient],
        table: str,
        *,
        lanes: int | None = None,
        whole_lanes: int = 1,
        sleep: Callable[[float], None] = pause,
    ) -> None:
        self._table = Table(client, table, sleep=sleep)
        self._directory = Directory(self._table)
        self._fleet = 0
        self._parts = {}
        self._places = {}
        self._seen = RowCache()
        self._working = HeldLeases(time.monotonic)
        self._reads = Coalescer(BATCH_READ)
        self._advances = Coalescer(AT_ONCE)
        self._own_lane = secrets.randbits(32)
        self._commits = Coalescer(TRANSACTION - 1)  # one item is the counters
        self._lanes = lanes
        self._whole_lanes = whole_lanes
