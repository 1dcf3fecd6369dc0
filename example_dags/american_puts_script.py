"""Table 1 of Longstaff and Schwartz (2001) from a plain script: submit, wait, collect, compare.

Usage::

    python american_puts_script.py                # on this machine, nothing to set up
    python american_puts_script.py --url 'local:///srv/grid?slots=8' --paths 10000000 --batch 100000
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import longstaff_schwartz as model
from htcgrid_core import connect
from longstaff_schwartz_cli import add_simulation_options
from longstaff_schwartz_report import conclude


def main() -> int:
    """Price the table on the grid; return 0 if it is the published one, else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", help="the grid (default: $HTCGRID_URL, else local://)")
    add_simulation_options(parser)
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where to put the picture")
    options = parser.parse_args()

    events = model.events(paths=options.paths, batch_paths=options.batch, seed=options.seed)
    with connect(options.url or os.environ.get("HTCGRID_URL", "local://")) as grid:
        session = grid.submit("longstaff_schwartz.price", events, name="american-puts")
        session.wait(progress=True)
        return conclude(session.results(), options.out)


if __name__ == "__main__":
    sys.exit(main())
