"""A day of value at risk from a table to a table: each row is a book and its profits and losses, and so a task.

The source has the columns ``day``, ``book`` and ``pnl``: a list of 250 daily profits and losses in thousand dollars, or
that list as JSON text where a database has no lists. The result has a row for each book, with its value at risk by each
model in thousand dollars: the loss, a positive number, that the next day exceeds with probability 1 %.
"""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any, Final, TypedDict

import numpy as np

from value_at_risk import value_at_risk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOOKS: Final = 24
DAYS: Final = 250
"""Of profits and losses, from which a model learns."""


class Event(TypedDict):
    """A row of the source."""

    day: str
    book: str
    pnl: list[float] | str


def value(event: Event, context: object) -> dict[str, float]:
    """Value one book by every model: the grid's handler."""
    pnl = event["pnl"]
    return value_at_risk(np.asarray(json.loads(pnl) if isinstance(pnl, str) else pnl, dtype=np.float64))


def simulated(day: str, books: int = BOOKS) -> Iterator[Event]:
    """Yield a day's books, the same ones at each call: heavy tails, and a scale of its own for each."""
    for number in range(books):
        rng = np.random.default_rng([date.fromisoformat(day).toordinal(), number])
        pnl = 10.0 * (1 + number) * rng.standard_t(4, DAYS)
        yield Event(day=day, book=f"book-{number:02}", pnl=pnl.round(3).tolist())


def write_parquet(folder: Path, day: str, books: int = BOOKS) -> Path:
    """Write a day into a folder of Parquet, partitioned by day; return its file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = [{"book": row["book"], "pnl": row["pnl"]} for row in simulated(day, books)]
    file = folder / f"day={day}" / "books.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def write_table(connection: Any, day: str, books: int = BOOKS) -> None:
    """Write a day into the table ``books`` of a database, in the place of what it had; made if there is none.

    Args:
        connection: of SQLAlchemy.
    """
    from sqlalchemy import text

    connection.execute(
        text("CREATE TABLE IF NOT EXISTS books (day varchar(10), book varchar(20), pnl text, PRIMARY KEY (day, book))")
    )
    connection.execute(text("DELETE FROM books WHERE day = :day"), {"day": day})
    rows = [{**row, "pnl": json.dumps(row["pnl"])} for row in simulated(day, books)]
    connection.execute(text("INSERT INTO books VALUES (:day, :book, :pnl)"), rows)
