"""OpenTelemetry's instrumentation of handlers, which goes by ``_HANDLER``; a task tells the spans that have ended."""

import os
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.aws_lambda import AwsLambdaInstrumentor
from opentelemetry.propagate import set_global_textmap
from opentelemetry.propagators.aws.aws_xray_propagator import AwsXRayLambdaPropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
set_global_textmap(AwsXRayLambdaPropagator())


def handler(event: Any, context: Any) -> Any:
    spans = [
        {
            "name": span.name,
            "trace_id": f"{span.context.trace_id:032x}",
            "invocation": (span.attributes or {}).get("faas.invocation_id"),
            "resource": (span.attributes or {}).get("cloud.resource_id"),
        }
        for span in exporter.get_finished_spans()
    ]
    return {"spans": spans, "who": context.aws_request_id, "trace": os.environ["_X_AMZN_TRACE_ID"]}


AwsLambdaInstrumentor().instrument()
