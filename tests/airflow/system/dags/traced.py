"""Steps of each kind, whose tasks trace what they do: one that waits, one that defers, one that asks the hook."""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, task
from opentelemetry import trace

from htcgrid_airflow.hooks import HTCGridHook
from htcgrid_airflow.operators import HTCGridSubmitOperator

PRICE = "tests.telemetry.handlers.price"
ENDPOINT = f"{os.environ.get('OTEL_EXPORTER_OTLP_ENDPOINT')}/v1/traces"


def events(first: int) -> list[dict[str, Any]]:
    """Two tasks, and where they send their spans."""
    return [{"n": n, "endpoint": ENDPOINT} for n in (first, first + 1)]


with DAG("traced", schedule=None):
    HTCGridSubmitOperator(task_id="waits", function=PRICE, tasks=events(0), session_name="waits")
    HTCGridSubmitOperator(task_id="defers", function=PRICE, tasks=events(2), session_name="defers", deferrable=True)

    @task
    def asks() -> list[int]:
        """A span of the step's own code is between Airflow's and the submission's."""
        with trace.get_tracer("traced").start_as_current_span("the code"):
            return list(HTCGridHook().get_conn().submit(PRICE, events(4), name="asks").results())

    asks()
