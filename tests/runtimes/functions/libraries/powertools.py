"""Powertools for AWS Lambda, as its documentation has handlers use it."""

import os
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.validation import validator

logger = Logger(service="desk")
tracer = Tracer(service="desk")
metrics = Metrics(namespace="Grid", service="desk")
http = APIGatewayHttpResolver()
batch = BatchProcessor(event_type=EventType.SQS)
TRADE = {"type": "object", "required": ["trade"], "properties": {"trade": {"type": "integer"}}}


@http.get("/prices/<desk>")
def prices(desk: str) -> dict[str, Any]:
    return {"desk": desk, "function": http.lambda_context.function_name}


def handler(event: dict[str, Any], context: Any) -> Any:
    return globals()[f"_{event['feature']}"](event, context)


@logger.inject_lambda_context(log_event=True, correlation_id_path="trade")
def _logger(event: Any, context: Any) -> Any:
    logger.info("priced", extra={"price": 7})


@tracer.capture_lambda_handler
def _tracer(event: Any, context: Any) -> Any:
    with tracer.provider.in_subsegment("## price") as subsegment:
        tracer.put_annotation("desk", "rates")
        return {"trace": os.environ["_X_AMZN_TRACE_ID"], "subsegment": subsegment.name}


@metrics.log_metrics(capture_cold_start_metric=True)
def _metrics(event: Any, context: Any) -> Any:
    metrics.add_metric("Priced", "Count", 1)


def _http(event: Any, context: Any) -> Any:
    return http.resolve(event["request"], context)


def _batch(event: Any, context: Any) -> Any:
    def price(record: Any) -> None:
        if record.body == "bad":
            raise ValueError("no price")

    return process_partial_response(event["request"], price, batch, context)


@validator(inbound_schema=TRADE)
def _validation(event: Any, context: Any) -> Any:
    return event["trade"]
