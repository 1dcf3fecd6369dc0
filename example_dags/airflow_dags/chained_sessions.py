"""Two DAGs, each a session, chained through an asset: the results of the first are the events of the second.

Its modules are in the folder above, and need ``pip install ".[airflow,examples]"`` in the checkout: put that folder on
PYTHONPATH of Airflow's processes.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, Asset, Param

from htcgrid_airflow.operators import HTCGridSubmitOperator

RESULTS = os.environ.get("CHAINED_SESSIONS_OUT", "/tmp/chained-sessions") + "/simulated.jsonl"  # noqa: S108
SIMULATED = Asset(name="simulated_puts", uri=f"file://{RESULTS}")
PARAMS = {"paths": Param(10_000, type="integer", description="paths a row of the table")}


def events(paths: str) -> list[Any]:
    """One task a row of Longstaff and Schwartz's table."""
    import longstaff_schwartz as model

    return list(model.events(paths=int(paths), batch_paths=int(paths)))


def exact(simulated: dict[str, Any]) -> dict[str, Any]:
    """Put the value by finite differences beside the simulated one."""
    import longstaff_schwartz as model

    row = model.PUBLISHED[simulated["row"]]
    return {**simulated, "exact": model.finite_difference(row.spot, row.volatility, row.maturity)}


with DAG("simulate_puts", schedule=None, params=PARAMS, tags=["htcgrid"], doc_md=__doc__):
    HTCGridSubmitOperator(
        task_id="simulate",
        function="longstaff_schwartz.price",
        tasks=events,
        tasks_kwargs={"paths": "{{ params.paths }}"},
        result=RESULTS,
        outlets=[SIMULATED],
    )

with DAG("check_puts", schedule=[SIMULATED], tags=["htcgrid"], doc_md=__doc__):
    HTCGridSubmitOperator(task_id="check", function=exact, tasks=RESULTS, result="inline")
