"""A day of value at risk from a table to a table as a Prefect flow: a row of the source is a task of one session.

Usage, with ``pip install ".[prefect,data,examples]"`` in the checkout, and from this folder, whose modules are in the
one above::

    export PYTHONPATH=..
    python value_at_risk_day_flow.py                                    # tables books and risk of SQLite's file risk.db
    python value_at_risk_day_flow.py --database postgresql+psycopg://risk@db/risk --day 2026-01-05

With prefect-sqlalchemy, a block keeps the database's password: ``source(SqlAlchemyConnector.load("risk"), ...)``.
Run it again: the day's rows are replaced.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import sqlalchemy
from prefect import flow, task

from htcgrid_core import sink, source
from htcgrid_prefect import run_session

sys.path.insert(0, str(Path(__file__).parents[1]))  # the model is shared with the other examples

import books_at_risk as model

QUERY = "SELECT book, pnl FROM books WHERE day = :day"


@task
def simulate(database: str, day: str, books: int) -> None:
    """Write the day's books, simulated, if the table has none."""
    engine = sqlalchemy.create_engine(database)
    is_there = sqlalchemy.inspect(engine).has_table("books")
    with engine.begin() as connection:
        count = sqlalchemy.text("SELECT count(*) FROM books WHERE day = :day")
        if not is_there or not connection.execute(count, {"day": day}).scalar():
            model.write_table(connection, day, books)
    engine.dispose()


@flow(flow_run_name="value-at-risk-{day}")
def value_at_risk_day(database: str, day: str = "2026-01-02", books: int = model.BOOKS, url: str | None = None) -> int:
    """Value the day's books; return how many rows were written."""
    simulate(database, day, books)
    rows = source(database, query=QUERY, parameters={"day": day}, order_by="book")
    results = run_session("books_at_risk.value", rows, grid=url, name=f"value-at-risk {day}")
    return results.write(sink(database, table="risk"), key="book", name=day).results.rows


def main() -> int:
    """Run the flow and print what it did."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", help="the grid (default: the setting, $HTCGRID_URL, else local://)")
    parser.add_argument("--database", default="sqlite:///risk.db", help="for SQLAlchemy (default: %(default)s)")
    parser.add_argument("--day", default="2026-01-02", help="which (default: %(default)s)")
    options = parser.parse_args()
    rows = value_at_risk_day(options.database, options.day, url=options.url)
    print(f"{options.day}: {rows} books")
    return 0


if __name__ == "__main__":
    sys.exit(main())
