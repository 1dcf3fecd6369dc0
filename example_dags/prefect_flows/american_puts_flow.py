"""Table 1 of Longstaff and Schwartz (2001) as a Prefect flow: one ``map`` is one session on the grid.

Usage, with ``pip install ".[prefect,examples]"`` in the checkout, and from this folder, whose modules are in the one
above::

    export PYTHONPATH=..
    python american_puts_flow.py                  # on this machine, nothing to set up
    python american_puts_flow.py --url 'local:///srv/grid?slots=8' --paths 10000000 --batch 100000

Without ``PREFECT_API_URL``, Prefect starts a server of its own for as long as the flow runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from htcgrid_prefect import HTCGridTaskRunner

sys.path.insert(0, str(Path(__file__).parents[1]))  # the model is shared with the other examples

import longstaff_schwartz as model
from longstaff_schwartz_cli import add_simulation_options
from longstaff_schwartz_report import compare, conclude


@task(retries=2)
def price(event: model.Event) -> model.Result:
    """Price one batch of paths of one option."""
    return model.price(event, None)


RUNNER: Any = HTCGridTaskRunner()  # any, since Prefect's annotations know the futures of its own runners only


@flow(flow_run_name="american-puts", task_runner=RUNNER)
def american_puts(
    paths: int = model.PATHS, batch_paths: int = model.BATCH_PATHS, seed: int = model.SEED, out: Path = Path()
) -> int:
    """Price the table; return 0 if it is the published one, else 1."""
    batches = price.map(list(model.events(paths=paths, batch_paths=batch_paths, seed=seed)))
    results = batches.result()
    create_table_artifact(
        key="american-puts",
        description="American puts: Longstaff and Schwartz (2001), Table 1, and the grid. Dollars a share.",
        table=[
            {
                "option": row.published.label,
                "published": row.published.simulated,
                "ours": round(row.estimate.value, 3),
                "standard error": round(row.estimate.standard_error, 3),
                "finite differences": round(row.finite_difference, 3),
            }
            for row in compare(model.combine(results))
        ],
    )
    return conclude(results, out)


def main() -> int:
    """Run the flow; return what it returns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", help="the grid (default: the setting, $HTCGRID_URL, else local://)")
    add_simulation_options(parser)
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where to put the picture")
    options = parser.parse_args()
    runner: Any = HTCGridTaskRunner(options.url)
    on_grid = american_puts.with_options(task_runner=runner)
    return on_grid(paths=options.paths, batch_paths=options.batch, seed=options.seed, out=options.out)


if __name__ == "__main__":
    sys.exit(main())
