"""Steps whose sessions end as soon as they have deferred."""

from __future__ import annotations

from airflow.sdk import DAG

from htcgrid_airflow.operators import HTCGridSubmitOperator
from tests.airflow.system.handlers import events

for number in range(6):
    with DAG(f"quick_{number}", schedule=None):
        HTCGridSubmitOperator(
            task_id="step",
            function="tests.airflow.system.handlers.hold",
            tasks=events(f"quick_{number}"),
            deferrable=True,
            session_name=f"quick_{number}",
        )
