"""American puts of Longstaff and Schwartz (2001) on a grid, as the clients in Go and Java have them.

Usage: python american_puts.py URL FUNCTION PATHS BATCH_PATHS, with the API token in HTCGRID_API_TOKEN.
"""

from __future__ import annotations

import math
import sys
from itertools import product

from htcgrid_core import connect

PUBLISHED = (
    4.472, 4.821, 7.091, 8.488, 3.244, 3.735, 6.139, 7.669, 2.313, 2.879, 5.308, 6.921, 1.617, 2.206, 4.588, 6.243,
    1.118, 1.675, 3.957, 5.622,
)  # fmt: skip
OPTIONS = list(product((36, 38, 40, 42, 44), (0.2, 0.4), (1, 2)))


def main(url: str, function: str, paths: int, batch_paths: int) -> None:
    """Submit, wait, and print the table."""
    events = (
        {
            "row": row,
            "batch": batch,
            "spot": spot,
            "volatility": volatility,
            "maturity": maturity,
            "paths": batch_paths,
            "seed": 2001,
        }
        for row, (spot, volatility, maturity) in enumerate(OPTIONS)
        for batch in range(paths // batch_paths)
    )
    with connect(url) as grid:
        session = grid.submit(function, events, name="american puts")
        moments = [[0.0, 0.0, 0.0] for _ in OPTIONS]  # pairs, mean, squared deviations from it
        for result in session.results():
            ours = moments[result["row"]]
            pairs, delta = ours[0] + result["pairs"], result["mean"] - ours[1]
            ours[2] += result["squares"] + delta**2 * ours[0] * result["pairs"] / pairs
            ours[1] += delta * result["pairs"] / pairs
            ours[0] = pairs
    print(f"{'S':>4} {'vol':>5} {'T':>3} {'simulated':>10} {'(s.e.)':>8} {'published':>10}")
    for (spot, volatility, maturity), (pairs, mean, squares), published in zip(
        OPTIONS, moments, PUBLISHED, strict=True
    ):
        error = math.sqrt(squares / (pairs - 1) / pairs)
        print(f"{spot:4d} {volatility:5.2f} {maturity:3d} {mean:10.4f} ({error:6.4f}) {published:10.3f}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
