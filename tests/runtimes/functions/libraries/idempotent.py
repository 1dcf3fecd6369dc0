"""Idempotency by Powertools, in a table that functions share."""

import os
from typing import Any

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, idempotent

calls: list[Any] = []


@idempotent(persistence_store=DynamoDBPersistenceLayer(table_name=os.environ["TABLE"]))
def handler(event: Any, context: Any) -> Any:
    calls.append(event)
    return {"by": context.function_name, "task": context.aws_request_id}
