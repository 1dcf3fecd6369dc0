"""Returns what the event says, in Python."""

import datetime
import enum
import uuid
from collections import OrderedDict  # noqa: F401 - for what is evaluated
from dataclasses import dataclass
from decimal import Decimal  # noqa: F401 - the same
from typing import Any, NamedTuple


class Side(enum.Enum):
    BUY = "buy"


class Rank(enum.IntEnum):
    FIRST = 1


class Desk(enum.StrEnum):
    RATES = "rates"


class Quote(NamedTuple):
    bid: float
    ask: float


class Row:
    def _asdict(self) -> dict[str, int]:
        return {"id": 7}


@dataclass
class Trade:
    notional: int


NAMES = {**globals(), "date": datetime.date, "datetime": datetime.datetime, "UUID": uuid.UUID}


def handler(event: str, context: Any) -> Any:
    return eval(event, NAMES)
