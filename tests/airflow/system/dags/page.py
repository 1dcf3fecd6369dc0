"""A step some of whose tasks fail, to be looked at."""

from __future__ import annotations

from airflow.sdk import DAG

from htcgrid_airflow.operators import HTCGridSubmitOperator
from tests.airflow.system.handlers import events

with DAG("looked_at", schedule=None):
    HTCGridSubmitOperator(
        task_id="step",
        function="tests.airflow.system.handlers.fail_once",
        tasks=events("looked_at", 5),
        retry={"max_attempts": 1},
        failure_policy="never",
        session_name="looked-at",
    )
