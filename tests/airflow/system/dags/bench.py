"""The same no-op tasks through one operator, and as mapped tasks of Airflow."""

from __future__ import annotations

import os

from airflow.sdk import DAG, task

from htcgrid_airflow.operators import HTCGridSubmitOperator

SESSION_TASKS = int(os.environ.get("BENCH_SESSION_TASKS", "1000"))
MAPPED_TASKS = int(os.environ.get("BENCH_MAPPED_TASKS", "100"))

with DAG("bench_session", schedule=None):
    HTCGridSubmitOperator(
        task_id="fan_out",
        function="tests.airflow.system.handlers.no_op",
        tasks=list(range(SESSION_TASKS)),
        deferrable=False,
    )

with DAG("bench_mapped", schedule=None, max_active_tasks=64):

    @task
    def fan_out(number: int) -> None:
        """Nothing."""

    fan_out.expand(number=list(range(MAPPED_TASKS)))
