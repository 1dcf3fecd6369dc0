"""Steps that go wrong, each in its own way; what their logs say is looked at."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG

from htcgrid_airflow.operators import HTCGridResultsOperator, HTCGridSubmitOperator
from htcgrid_airflow.sensors import HTCGridSessionSensor
from tests.airflow.system.handlers import events

FOLDER = Path(os.environ["SYSTEM_TEST_FOLDER"])
NO_OP = "tests.airflow.system.handlers.no_op"
EXPIRED = "{{ dag_run.conf['expired'] }}"

with DAG("troubles", schedule=None):
    HTCGridSubmitOperator(task_id="no_connection", htcgrid_conn_id="nowhere", function=NO_OP, tasks=[1])
    HTCGridSubmitOperator(task_id="no_grid", grid="local:///dev/null/grid", function=NO_OP, tasks=[1])
    HTCGridSubmitOperator(task_id="no_function", function="nowhere.handler", tasks=[1])
    HTCGridSubmitOperator(task_id="malformed", function=NO_OP, tasks=str(FOLDER / "malformed.jsonl"))
    HTCGridSessionSensor(task_id="expired_for_sensor", session=EXPIRED)
    HTCGridResultsOperator(task_id="expired_for_results", session=EXPIRED)

for dag_id, deferrable in (("grid_away_blocking", False), ("grid_away_deferred", True)):
    with DAG(dag_id, schedule=None):
        HTCGridSubmitOperator(
            task_id="step",
            htcgrid_conn_id="htcgrid_on_aws",
            function="tests.airflow.system.handlers.hold",
            tasks=events(dag_id),
            deferrable=deferrable,
            session_name=dag_id,
            retry_delay=timedelta(seconds=1),
        )
