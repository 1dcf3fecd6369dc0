"""The session store on DynamoDB: each write is one conditional step, each condition part of the write."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from htcgrid_core.adapters.aws.committing import Committing
from htcgrid_core.adapters.aws.directory import Directory
from htcgrid_core.adapters.aws.ending import Ending
from htcgrid_core.adapters.aws.leasing import Leasing
from htcgrid_core.adapters.aws.reading import Reading
from htcgrid_core.adapters.aws.roster import Roster
from htcgrid_core.adapters.aws.seen import Seen
from htcgrid_core.adapters.aws.submitting import Submitting
from htcgrid_core.adapters.aws.table import BATCH_READ, TRANSACTION, Table, pause
from htcgrid_core.adapters.aws.together import Together
from htcgrid_core.adapters.aws.working import Working

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
        self._seen = Seen()
        self._working = Working(time.monotonic)
        self._reads = Together(BATCH_READ)
        self._advances = Together(AT_ONCE)
        self._own_lane = secrets.randbits(32)
        self._commits = Together(TRANSACTION - 1)  # one item is the counters
        self._lanes = lanes
        self._whole_lanes = whole_lanes
