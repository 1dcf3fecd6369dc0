"""One DAG for each way in which an attempt can be ended from outside."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from htcgrid_airflow.operators import HTCGridSubmitOperator
from tests.airflow.system.handlers import Stumbling, events

HANDLERS = "tests.airflow.system.handlers"


def step(dag_id: str, *, dagrun_timeout: timedelta | None = None, **options: Any) -> None:
    """A DAG of one task; its session's name is the DAG's."""
    given = {"function": f"{HANDLERS}.hold", "tasks": events(dag_id), "deferrable": True, **options}
    with DAG(dag_id, schedule=None, dagrun_timeout=dagrun_timeout):
        HTCGridSubmitOperator(task_id="step", session_name=dag_id, retry_delay=timedelta(seconds=1), **given)


for action in ("failed", "success", "clear", "run_failed", "triggerer_killed", "triggerer_stalled"):
    step(f"deferred_{action}")
for action in ("failed", "clear"):
    step(f"blocking_{action}", deferrable=False)
# Long enough to submit on a busy machine: who ends before that has no session to cancel.
LIMIT = timedelta(minutes=1)
step("deferred_dagrun_timeout", dagrun_timeout=LIMIT)
step("deferred_task_timeout", execution_timeout=LIMIT)
step("blocking_task_timeout", execution_timeout=LIMIT, deferrable=False)
step("deferred_scheduler_killed")
step("blocking_scheduler_killed", deferrable=False, retries=2)
step("blocking_worker_killed", deferrable=False, retries=2)
for name, number in (("before", 0), ("during", Stumbling.COUNT // 2), ("last", Stumbling.COUNT - 1)):
    step(
        f"worker_killed_{name}_submit",
        function=f"{HANDLERS}.no_op",
        tasks=Stumbling(f"worker_killed_{name}_submit", number),
        retries=2,
    )
