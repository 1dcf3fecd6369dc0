"""Every request to AWS as a metric, by botocore's own events: those that botocore repeats by itself, too."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from htcgrid_core.adapters.aws.errors import THROTTLED
from htcgrid_core.domain.metrics import AWS_CALL_SECONDS, AWS_CALLS
from htcgrid_core.ports.metrics import Metrics

_SENT_AT = "htcgrid-sent-at"  # in what botocore keeps of a request


def observe(client: Any, metrics: Metrics) -> None:
    """Count the requests of one of boto3's clients."""
    events = client.meta.events
    events.register("request-created.*.*", _sent)
    events.register("response-received.*.*", partial(_answered, metrics))


def _sent(request: Any, **_: Any) -> None:
    request.context[_SENT_AT] = time.perf_counter()


def _answered(
    metrics: Metrics, event_name: str, parsed_response: Mapping[str, Any] | None, context: dict[str, Any], **_: Any
) -> None:
    operation = event_name.rpartition(".")[2]
    metrics.add(AWS_CALLS, operation=operation, answer=_answer(parsed_response))
    metrics.observe(AWS_CALL_SECONDS, (time.perf_counter() - context[_SENT_AT],), operation=operation)


def _answer(parsed: Mapping[str, Any] | None) -> str:
    if parsed is None:
        return "failed"
    if parsed.get("Error", {}).get("Code") in THROTTLED:
        return "throttled"
    status = parsed.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return "ok" if status < 400 else "refused" if status < 500 else "failed"
