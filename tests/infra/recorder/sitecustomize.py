"""On the path of a process under test: each of its calls of AWS is a line of JSON in ``$HTCGRID_TEST_CALLS``."""

from __future__ import annotations

import json
import os
from typing import Any

FILE = os.environ.get("HTCGRID_TEST_CALLS")
COMPONENT = os.environ.get("HTCGRID_TEST_COMPONENT", "")
KEPT = (
    "Bucket", "CopySource", "IndexName", "Name", "Path", "QueueName", "QueueUrl", "SettingId", "TableName",
    "TopicArn", "WithDecryption",
)  # fmt: skip


def _named(parameters: dict[str, Any]) -> dict[str, Any]:
    """What a call names, and no payload."""
    found = {name: parameters[name] for name in KEPT if name in parameters}
    if "Delete" in parameters:
        found["Below"] = sorted({each["Key"].partition("/")[0] for each in parameters["Delete"]["Objects"]})
    if "RequestItems" in parameters:
        found["Tables"] = sorted(parameters["RequestItems"])
    if puts_or_changes := sorted(_audit(parameters)):
        found["Audit"] = puts_or_changes
    if "Entries" in parameters:
        found["Buses"] = sorted({each["EventBusName"] for each in parameters["Entries"] if "EventBusName" in each})
    if "TransactItems" in parameters:
        found["Items"] = sorted(
            {(kind, item["TableName"]) for each in parameters["TransactItems"] for kind, item in each.items()}
        )
    return found


def _audit(parameters: dict[str, Any]) -> set[str]:
    """What a call does to entries of the audit: ``Put``, ``Update`` or ``Delete``."""
    writes = [
        {"Put" if "Item" in parameters else "Update" if "UpdateExpression" in parameters else "Delete": parameters}
        if "Item" in parameters or ("Key" in parameters and "ConsistentRead" not in parameters)
        else {},
        *parameters.get("TransactItems", ()),
        *(
            {kind.removesuffix("Request"): request}
            for each in parameters.get("RequestItems", {}).values()
            if isinstance(each, list)
            for one in each
            for kind, request in one.items()
        ),
    ]
    return {
        kind
        for write in writes
        for kind, request in write.items()
        if _partition(request.get("Item") or request.get("Key")).startswith("A#")
    }


def _partition(item: Any) -> str:
    return str(item.get("pk", {}).get("S", "")) if isinstance(item, dict) else ""


def _record() -> None:
    from botocore import client

    every: Any = client.BaseClient
    original = every._make_api_call

    def recorded(self: Any, operation: str, parameters: dict[str, Any]) -> Any:
        line = {
            "component": COMPONENT,
            "process": os.getpid(),
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
