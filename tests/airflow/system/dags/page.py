"""Steps some of whose tasks fail, to be looked at: afterwards, while they fail, and where that is tolerated."""

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

with DAG("failing_now", schedule=None):
    HTCGridSubmitOperator(
        task_id="step",
        function="tests.airflow.system.handlers.tell_and_fail_once",
        tasks=events("failing_now", 40),
        retry={"max_attempts": 100, "backoff_base_seconds": 8, "backoff_cap_seconds": 8},
        session_name="failing-now",
    )

with DAG("tolerant", schedule=None):
    HTCGridSubmitOperator(
        task_id="step",
        function="tests.airflow.system.handlers.tell_and_fail_once",
        tasks=events("tolerant", 40),
        retry={"max_attempts": 1},
        failure_policy=20,
        session_name="tolerant",
    )
