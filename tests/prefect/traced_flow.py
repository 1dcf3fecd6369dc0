"""A flow of a program that traces, as a process of its own: OpenTelemetry knows one provider for each.

Prints, as JSON, the flow run's id and the labels that Prefect's server has of it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from prefect import flow, runtime, task

from htcgrid_prefect import HTCGridTaskRunner, run_session
from tests.prefect.support import api_client


@task
def price(number: int, endpoint: str) -> int:
    """What a task does in a span of its own is below the grid's span of that task."""
    provider = TracerProvider(resource=Resource.create({"service.name": "the-task"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint)))
    with provider.get_tracer("tasks").start_as_current_span("price", attributes={"n": number}):
        return number


@flow
def book(grid_url: str, endpoint: str) -> tuple[str, list[int]]:
    """A call, a map in a span of the flow's own, and a session."""
    alone: Any = price.submit(0, endpoint)
    with trace.get_tracer("flow").start_as_current_span("the step"):
        mapped = price.map([1, 2, 3], endpoint).result()
    events = [{"n": 4, "endpoint": endpoint}]
    direct = list(run_session("tests.telemetry.handlers.price", events, grid=grid_url, name="direct"))
    flow_run_id: str = runtime.flow_run.id
    return flow_run_id, [alone.result(), *mapped, *direct]


def main(grid_url: str, endpoint: str, engine: Any) -> None:
    """Run it."""
    provider = TracerProvider(resource=Resource.create({"service.name": "the-flow"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint)))
    trace.set_tracer_provider(provider)
    runner = HTCGridTaskRunner(grid_url, engine=engine)
    flow_run_id, results = book.with_options(task_runner=runner)(grid_url, endpoint)
    labels = api_client().request("GET", "/flow_runs/{id}", path_params={"id": flow_run_id}).json()["labels"]
    print(json.dumps({"flow_run": flow_run_id, "results": results, "labels": labels}))


if __name__ == "__main__":
    main(*sys.argv[1:])
