"""A step whose events and results are files, for OpenLineage."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG

from htcgrid_airflow.operators import HTCGridSubmitOperator

FOLDER = Path(os.environ["SYSTEM_TEST_FOLDER"])

with DAG("lineage", schedule=None):
    HTCGridSubmitOperator(
        task_id="price",
        function="tests.airflow.system.handlers.parent_of",
        tasks=str(FOLDER / "trades.jsonl"),
        result=str(FOLDER / "values.jsonl"),
    )
