"""A day of value at risk from a table to a table: a row of the source is a task of one session.

The source is a folder of Parquet by day, and so is the result: its rows stand in ``session=DAY/``, which appears whole.
Clear the task, or run the day again, and they are replaced. For databases, ``source`` and ``sink`` take connections of
Airflow: ``{"conn_id": "risk", "table": "var"}``.

Its modules are in the folder above, and need ``pip install ".[airflow,data,examples]"`` in the checkout: put that
folder on PYTHONPATH of Airflow's processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, task

from htcgrid_airflow.operators import HTCGridSubmitOperator

PARAMS = {
    "day": Param("2026-01-02", type="string", description="which"),
    "lake": Param("/tmp/value-at-risk", type="string", description="folder with books/ and risk/"),  # noqa: S108
    "books": Param(24, type="integer", description="simulated, if the day has none"),
}

with DAG("value_at_risk_day", schedule=None, params=PARAMS, tags=["htcgrid"], doc_md=__doc__):

    @task
    def books(params: dict[str, Any]) -> None:
        """The day's books, simulated where nobody has put any."""
        from books_at_risk import has_parquet, write_parquet

        folder = Path(params["lake"], "books")
        if not has_parquet(folder, params["day"]):
            write_parquet(folder, params["day"], params["books"])

    value = HTCGridSubmitOperator(
        task_id="value",
        function="books_at_risk.value",
        source={"place": "{{ params.lake }}/books", "where": ["day={{ params.day }}"]},
        sink="{{ params.lake }}/risk",
        sink_key="book",
        sink_name="{{ params.day }}",
        session_name="value-at-risk",
    )

    @task
    def largest(params: dict[str, Any], manifest: dict[str, Any]) -> str:
        """Print how many rows were written, and return the book that can lose most."""
        import pyarrow.parquet as pq

        rows = pq.read_table(Path(params["lake"], "risk", f"session={params['day']}")).to_pylist()
        print(f"{manifest['written']['results']['rows']} rows in {manifest['written']['results']['to']}")
        return str(max(rows, key=lambda row: row["filtered"])["book"])

    books() >> value  # type: ignore[call-arg]  # Airflow passes params
    largest(manifest=value.output)  # type: ignore[call-arg,arg-type]  # and the manifest
