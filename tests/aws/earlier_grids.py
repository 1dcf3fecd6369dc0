"""Grids as earlier versions made them: without tags, and with hyphens between the parts of all names."""

from __future__ import annotations

from typing import Any

from htcgrid_core.adapters.aws.dynamodb import schema
from htcgrid_core.adapters.aws.parameter import GridParameter, PoolQueues, key_name, parameter_name
from tests.aws.emulators import REGION, Account

PRIORITIES = ("high", "normal", "low", "dead")


def earlier_grid(account: Account, name: str, *pools: str) -> GridParameter:
    """Make one; its parameter."""
    sqs, ssm = account.sqs(), account.client("ssm")
    table, bucket = f"htcgrid-{name}", f"htcgrid-{name}-{account.id}-{REGION}"
    account.dynamodb().create_table(**schema.create_table(table))
    where: Any = {"LocationConstraint": REGION}
    account.s3().create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    queues = {
        pool: PoolQueues(
            **{each: sqs.create_queue(QueueName=f"htcgrid-{name}-{pool}-{each}")["QueueUrl"] for each in PRIORITIES}
        )
        for pool in pools
    }
    parameter = GridParameter(table=table, bucket=bucket, queues=queues, key=key_name(name))
    ssm.put_parameter(Name=key_name(name), Value="00" * 32, Type="SecureString")
    ssm.put_parameter(Name=parameter_name(name), Value=parameter.model_dump_json(), Type="String")
    return parameter
