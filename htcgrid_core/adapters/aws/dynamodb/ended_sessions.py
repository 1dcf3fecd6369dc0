"""Ends of sessions by the index of their times, which lags a little, and whose clocks may be wrong.

Whoever asks walks the index from some time before the walk before began: briefly each time, so that what ends is told
soon and costs little, and once a minute as far back as clocks may be wrong.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import islice
from typing import Self

from botocore.exceptions import ClientError

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.keys import session_key
from htcgrid_core.adapters.aws.dynamodb.schema import ENDED_AT, ENDED_KEY, ENDS_INDEX, PARTITION, SORT
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.errors import code_of
from htcgrid_core.domain import limits
from htcgrid_core.domain.ended import End, EndedPage
from htcgrid_core.domain.errors import GridError, IncompatibleGrid

LAG_SECONDS = 60.0  # of the index, behind the table; milliseconds as a rule
LATE_SECONDS = 2 * limits.WRONG_CLOCK_SECONDS + LAG_SECONDS  # one who ended it is behind, one who looks ahead
ROUND_SECONDS = 60.0  # between two walks that begin so early


@dataclass(frozen=True, slots=True)
class Walk:
    """A walk through the index, as a cursor has it.

    Attributes:
        since: the earliest end that it looks for.
        began: by the clock of whoever walks.
        round_began: when the last walk began that went back as far as clocks may be wrong.
        is_round: whether that is this one.
        last: the end that it has come to; None at first.
        over: it has come to the newest.
    """

    since: float
    began: float
    round_began: float
    is_round: bool = True
    last: End | None = None
    over: bool = False

    @classmethod
    def first(cls, since: float, now: float) -> Self:
        """For every end after ``since``."""
        return cls(min(since, now) - LATE_SECONDS, now, now)

    @classmethod
    def read(cls, cursor: str) -> Self:
        """From a cursor."""
        since, began, round_began, is_round, last, over = json.loads(cursor)
        return cls(since, began, round_began, is_round, last and End(*last), over)

    @property
    def cursor(self) -> str:
        """As text."""
        last = self.last and [self.last.session_id, self.last.at]
        parts = [self.since, self.began, self.round_began, self.is_round, last, self.over]
        return json.dumps(parts, separators=(",", ":"))

    def next(self, now: float) -> Self:
        """The walk after this one. A clock that was set back does not hide what has ended meanwhile."""
        if 0 <= now - self.round_began < ROUND_SECONDS:
            return type(self)(min(self.began, now) - LAG_SECONDS, now, self.round_began, is_round=False)
        return type(self)(min(self.round_began, now) - LATE_SECONDS, now, now)


def ended(table: Table, after: str | float, now: float, limit: int) -> EndedPage:
    """The next page.

    Raises:
        IncompatibleGrid: the table has no such index.
    """
    walk = Walk.read(after) if isinstance(after, str) else Walk.first(after, now)
    if walk.over:
        walk = walk.next(now)
    keys = table.index(
        ENDS_INDEX,
        (ENDED_KEY, "E"),
        above=(ENDED_AT, walk.since),
        start=None if walk.last is None else _key_of(walk.last),
        piece=limit,
    )
    try:
        ends = tuple(map(_end_of, islice(keys, limit)))
    except GridError as error:
        raise _no_index(table) if _is_invalid(error) else error from error
    walk = replace(walk, last=ends[-1] if ends else walk.last, over=len(ends) < limit)
    return EndedPage(ends, walk.cursor, more=not walk.over, round_over=walk.over and walk.is_round)


def _is_invalid(error: GridError) -> bool:
    cause = error.__cause__
    return isinstance(cause, ClientError) and code_of(cause) == "ValidationException"


def _no_index(table: Table) -> IncompatibleGrid:
    return IncompatibleGrid(
        f"table {table.name} has no index {ENDS_INDEX}, or not yet, since an earlier version of htcgrid made it: "
        "`htcgrid aws bootstrap NAME` adds it"
    )


def _end_of(key: Item) -> End:
    return End(str(key[PARTITION]).removeprefix("S#"), float(key[ENDED_AT]))


def _key_of(end: End) -> Item:
    partition, sort = session_key(end.session_id)
    return {PARTITION: partition, SORT: sort, ENDED_KEY: "E", ENDED_AT: end.at}
