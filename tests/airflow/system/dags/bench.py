"""The same no-op tasks through one operator, and as mapped tasks of Airflow; and many operators that defer."""

from __future__ import annotations

import os

from airflow.sdk import DAG, task

from htcgrid_airflow.operators import HTCGridSubmitOperator
from tests.airflow.system.handlers import events

SESSION_TASKS = int(os.environ.get("BENCH_SESSION_TASKS", "1000"))
MAPPED_TASKS = int(os.environ.get("BENCH_MAPPED_TASKS", "100"))
DEFERRED_OPERATORS = int(os.environ.get("BENCH_DEFERRED_OPERATORS", "10"))

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

with DAG("bench_deferred", schedule=None, max_active_tasks=1000):
    HTCGridSubmitOperator.partial(
        task_id="wait", function="tests.airflow.system.handlers.hold", deferrable=True
    ).expand(tasks=[[event] for event in events("bench_deferred", DEFERRED_OPERATORS)])
