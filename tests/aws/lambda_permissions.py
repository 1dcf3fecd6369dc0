"""What a function's clients ask AWS for, as its permissions name it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import htcgrid_core.lambdas
from htcgrid_core.cloud.plane import CloudPlane
from tests.aws.emulators import REGION

SERVICES = ("dynamodb", "s3", "sqs", "stepfunctions")
_S3 = {"HeadObject": "GetObject", "ListObjectsV2": "ListBucket", "DeleteObjects": "DeleteObject"}
_ITEMS = {"ConditionCheck": "ConditionCheckItem", "Delete": "DeleteItem", "Put": "PutItem", "Update": "UpdateItem"}

Need = tuple[str, str]


def allowed(function: str) -> set[Need]:
    """What the file beside a function says: actions with their resources."""
    page = json.loads(Path(htcgrid_core.lambdas.__file__).with_name(f"{function}.json").read_text())
    assert page["function"] == f"htcgrid_core.lambdas.{function}.handler"
    return {
        (action, resource)
        for statement in page["statements"]
        for action in statement["actions"]
        for resource in statement["resources"]
    }


@contextmanager
def recorded(cloud: CloudPlane, places: dict[str, str]) -> Iterator[set[Need]]:
    """What is asked for in the block.

    Args:
        places: what objects of other buckets are, by the beginning of their keys.
    """
    made: set[Need] = set()
    queues = {url: "queues of all pools" for pool in cloud.parameter.queues.values() for url in _live(pool)}
    queues |= {pool.dead: "dead letters" for pool in cloud.parameter.queues.values()}

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        name, service = model.name, model.service_model.service_name
        if service == "dynamodb":
            index = params.get("IndexName")
            where = f"table/index/{index}" if index else "table"
            for action in _item_actions(name, params):
                made.add((f"dynamodb:{action}", where))
        elif service == "sqs":
            url = params.get("QueueUrl", "")
            made.add((f"sqs:{name.removesuffix('Batch')}", queues.get(url, "destinations that are queues")))
        elif service == "stepfunctions":
            made.add((f"states:{name}", "state machines that wait for sessions"))
        else:
            action = _S3.get(name, name)
            if params["Bucket"] == cloud.parameter.bucket:
                where = "bucket" if action == "ListBucket" else "bucket/*"
            else:
                where = next(what for begin, what in places.items() if params["Key"].startswith(begin))
            made.add((f"s3:{action}", where))

    clients = [getattr(cloud.clients, service) for service in SERVICES]
    clients.append(cloud.clients.of("sqs", REGION))  # of destinations
    for client in clients:
        client.meta.events.register("before-parameter-build", note)
    try:
        yield made
    finally:
        for client in clients:
            client.meta.events.unregister("before-parameter-build", note)


def _live(pool: Any) -> tuple[str, str, str]:
    return pool.high, pool.normal, pool.low


def _item_actions(name: str, params: dict[str, Any]) -> list[str]:
    if name != "TransactWriteItems":
        return [name]
    return [_ITEMS[kind] for item in params["TransactItems"] for kind in item]
