"""A large Monte Carlo as a Prefect flow: one session of a thousand tasks, ten million paths.

``run_session`` runs the whole vector as one session, and tells Prefect's server how far it is instead of telling it of
each task: that is what keeps a million tasks from being a million rows in its database.

Usage, with ``pip install ".[prefect,examples]"`` in the checkout, and from this folder, whose modules are in the one
above::

    export PYTHONPATH=..
    python asian_option_flow.py                   # on this machine, nothing to set up
    python asian_option_flow.py --url 'local:///srv/grid?slots=8' --paths 1000000000
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from htcgrid_prefect import run_session

sys.path.insert(0, str(Path(__file__).parents[1]))  # the model is shared with the other examples

import asian_option as model


@flow(flow_run_name="asian-option")
def asian_option(
    url: str | None = None, paths: int = model.PATHS, batch_paths: int = model.BATCH_PATHS, seed: int = model.SEED
) -> model.Estimate:
    """Price the call, and check the simulation against what is known exactly."""
    events = model.events(paths, batch_paths, seed)
    results = run_session("asian_option.simulate", events, grid=url, name="asian-option")
    estimate = model.combine(tuple(result) for result in results)
    create_markdown_artifact(shown(estimate), key="asian-option")
    check(estimate)
    return estimate


def shown(estimate: model.Estimate) -> str:
    """The estimate in words."""
    gain = (estimate.plain_error / estimate.standard_error) ** 2
    return (
        f"Asian call, {estimate.paths:,} paths: **{estimate.value:.5f}** ± {estimate.standard_error:.5f} dollars; "
        f"without the control variate {estimate.plain:.4f} ± {estimate.plain_error:.4f}, which would need "
        f"{gain:,.0f} times the paths.\n\n"
        f"Geometric average: {estimate.geometric:.4f} ± {estimate.geometric_error:.4f}, "
        f"exactly {model.geometric_call():.4f}."
    )


def check(estimate: model.Estimate) -> None:
    """Raise if the simulated geometric average is further from its closed form than chance explains."""
    distance = abs(estimate.geometric - model.geometric_call())
    if distance > 4 * estimate.geometric_error:
        raise ArithmeticError(f"the simulation is {distance / estimate.geometric_error:.1f} standard errors off")


def main() -> int:
    """Run the flow and print what it found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", help="the grid (default: the setting, $HTCGRID_URL, else local://)")
    parser.add_argument("--paths", type=int, default=model.PATHS, help="in all (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=model.BATCH_PATHS, help="paths a task (default: %(default)s)")
    options = parser.parse_args()
    print(shown(asian_option(options.url, options.paths, options.batch)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
