"""Steps whose handlers trace what they do, in the trace that they are given."""

from __future__ import annotations

import os

from airflow.sdk import DAG

from htcgrid_airflow.operators import HTCGridSubmitOperator

SEEN = f"{os.environ['OTEL_EXPORTER_OTLP_ENDPOINT']}/v1/traces"

with DAG("traced", schedule=None):
    for step in ("blocking", "deferred"):
        HTCGridSubmitOperator(
            task_id=step,
            htcgrid_conn_id="htcgrid_traced",
            function="tests.telemetry.handlers.price",
            tasks=[{"n": number, "endpoint": SEEN} for number in range(3)],
            session_name=step,
            deferrable=step == "deferred",
        )
