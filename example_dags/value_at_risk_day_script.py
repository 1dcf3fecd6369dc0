"""A day of value at risk from a table to a table, from a plain script: a row of the source is a task.

Usage, with ``pip install ".[data,examples]"`` in the checkout::

    python value_at_risk_day_script.py                # from Parquet in books/ to the Delta table risk/
    python value_at_risk_day_script.py --day 2026-01-05 --from s3://lake/books/ --to delta:s3://lake/risk
    python value_at_risk_day_script.py --to postgresql+psycopg://risk@db/risk --table var.books

Run it again: the same input is the same session, whose rows are there already; of another input the day's rows are
replaced. If there is no folder ``books``, it is made, with simulated profits and losses.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from books_at_risk import write_parquet
from htcgrid_core import connect, sink, source

FOLDER = "books"


def main() -> int:
    """Value the day's books on the grid; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", help="the grid (default: $HTCGRID_URL, else local://)")
    parser.add_argument("--day", default="2026-01-02", help="which (default: %(default)s)")
    parser.add_argument("--from", dest="books", default=FOLDER, metavar="PLACE", help="Parquet by day (%(default)s)")
    parser.add_argument("--to", default="delta:risk", metavar="PLACE", help="for the results (default: %(default)s)")
    parser.add_argument("--table", help="if that is a database")
    options = parser.parse_args()

    if options.books == FOLDER and not Path(FOLDER, f"day={options.day}").exists():
        write_parquet(Path(FOLDER), options.day)
    books = source(options.books, where=[f"day={options.day}"])
    risk = sink(options.to, **({"table": options.table} if options.table else {}))
    with connect(options.url or os.environ.get("HTCGRID_URL", "local://")) as grid:
        session = grid.submit(
            "books_at_risk.value", books, token=books.token("value at risk"), name=f"value at risk {options.day}"
        )
        session.wait(progress=True)
        written = session.write(risk, key="book", name=options.day)
    print(f"{options.day}: {written.results.rows} books, in {written.results.to}; session {session.id}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
