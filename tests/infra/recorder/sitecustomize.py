"""On the path of a process under test: each of its calls of AWS is a line of JSON in ``$HTCGRID_TEST_CALLS``."""

from __future__ import annotations

import json
import os
from typing import Any

FILE = os.environ.get("HTCGRID_TEST_CALLS")
COMPONENT = os.environ.get("HTCGRID_TEST_COMPONENT", "")
KEPT = ("Bucket", "CopySource", "IndexName", "Name", "Path", "QueueUrl", "TableName", "WithDecryption")


def _named(parameters: dict[str, Any]) -> dict[str, Any]:
    """What a call names, and no payload."""
    found = {name: parameters[name] for name in KEPT if name in parameters}
    if "RequestItems" in parameters:
        found["Tables"] = sorted(parameters["RequestItems"])
    if "TransactItems" in parameters:
        found["Items"] = sorted(
            {(kind, item["TableName"]) for each in parameters["TransactItems"] for kind, item in each.items()}
        )
    return found


def _record() -> None:
    from botocore import client

    every: Any = client.BaseClient
    original = every._make_api_call

    def recorded(self: Any, operation: str, parameters: dict[str, Any]) -> Any:
        line = {
            "component": COMPONENT,
            "service": self.meta.service_model.service_name,
            "operation": operation,
            "region": self.meta.region_name,
            "named": _named(parameters),
        }
        with open(str(FILE), "a") as file:  # one write of a line, which the kernel keeps whole
            file.write(json.dumps(line) + "\n")
        return original(self, operation, parameters)

    every._make_api_call = recorded


if FILE:
    _record()
