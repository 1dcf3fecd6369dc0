"""AWS X-Ray's SDK by itself."""

import os
from typing import Any

from aws_xray_sdk.core import patch_all, xray_recorder

patch_all()


def handler(event: Any, context: Any) -> Any:
    with xray_recorder.in_subsegment("price") as subsegment:
        subsegment.put_annotation("desk", "rates")
        return {"trace": os.environ["_X_AMZN_TRACE_ID"], "subsegment": subsegment.name}
