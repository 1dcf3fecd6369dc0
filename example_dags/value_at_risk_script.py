"""A value-at-risk backtest of the S&P 500, 1999 to 2018, from a plain script: one task a trading day.

Usage::

    python value_at_risk_script.py                # on this machine, nothing to set up
    python value_at_risk_script.py --url 'local:///srv/grid?slots=8'

The history comes with the package `arch`, so nothing is downloaded.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from arch.data import sp500

from htcgrid_core import connect
from value_at_risk import WINDOW_DAYS, events
from value_at_risk_report import plot, report, scores


def main() -> int:
    """Backtest on the grid, print the table and save the picture; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", help="the grid (default: $HTCGRID_URL, else local://)")
    parser.add_argument(
        "--window", type=int, default=WINDOW_DAYS, help="days a model learns from (default: %(default)s)"
    )
    parser.add_argument("--days", type=int, help="forecast only the last DAYS days (default: all)")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where to put the picture")
    options = parser.parse_args()

    closes = sp500.load()["Adj Close"]
    returns = 100.0 * np.diff(np.log(closes.to_numpy(dtype=np.float64)))
    dates = closes.index.to_numpy(dtype="datetime64[D]")[1:]
    if options.days is not None:
        kept = options.days + options.window
        returns, dates = returns[-kept:], dates[-kept:]

    with connect(options.url or os.environ.get("HTCGRID_URL", "local://")) as grid:
        history = grid.put(returns.tolist())
        session = grid.submit(
            "value_at_risk.forecast", events(returns.size, history, options.window), name="value-at-risk"
        )
        session.wait(progress=True)
        results = scores(returns, session.results())

    report(results)
    options.out.mkdir(parents=True, exist_ok=True)
    plot(
        dates[options.window :],
        returns[options.window :],
        results,
        picture := options.out / "value_at_risk.png",
    )
    print(f"picture: {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
