"""Table 1 of Longstaff and Schwartz (2001) as a DAG of three steps: prepare, fan out, report.

The middle one is a single Airflow task, however many paths are simulated: it hands its events to the grid as one
session.

Its modules are in the folder above, and need ``pip install ".[airflow,examples]"`` in the checkout: put that folder on
PYTHONPATH of Airflow's processes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, task

from htcgrid_airflow.operators import HTCGridSubmitOperator

PARAMS = {
    "paths": Param(100_000, type="integer", description="paths a row of the table"),
    "batch": Param(25_000, type="integer", description="paths a task"),
    "seed": Param(2001, type="integer", description="root of all random numbers"),
    "out": Param("/tmp/american-puts", type="string", description="folder for events, results, report and picture"),  # noqa: S108
}

with DAG("american_puts", schedule=None, params=PARAMS, tags=["htcgrid"], doc_md=__doc__):

    @task
    def prepare(params: dict[str, Any]) -> str:
        """Write one event a line; a path travels between the steps, never the events."""
        import longstaff_schwartz as model

        path = Path(params["out"], "events.jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        events = model.events(paths=params["paths"], batch_paths=params["batch"], seed=params["seed"])
        with path.open("w") as file:
            file.writelines(json.dumps(event) + "\n" for event in events)
        return str(path)

    price = HTCGridSubmitOperator(
        task_id="price",
        function="longstaff_schwartz.price",
        tasks=prepare(),  # type: ignore[call-arg,misc]  # Airflow passes params
        session_name="american-puts",
        result="{{ params.out }}/results.jsonl",
    )

    @task
    def report(manifest: dict[str, Any]) -> str:
        """Compare with the published table; fail if a row differs."""
        from longstaff_schwartz_report import written

        results = Path(manifest["results"])
        with results.open() as lines:
            return str(written(map(json.loads, lines), results.parent))

    report(price.output)  # type: ignore[arg-type]  # Airflow passes its value
