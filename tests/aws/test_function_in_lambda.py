"""Lambda as a compute plane: an emulator's Lambda, invoked by its mappings of the queues, with AWS's runtime client."""

from __future__ import annotations

import io
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.plane import CloudPlane, open_cloud
from htcgrid_core.services.reconcile import reconcile
from tests.aws import mortal_function
from tests.aws.emulators import REGION, REPOSITORY, Account
from tests.aws.grids import CloudUnderTest

HANDLERS = "tests.e2e.handlers"
GUARD_SECONDS = 400.0
MEMORY_MB = 3538  # two slots
HIDDEN_SECONDS = "4"  # of a message whose invocation was killed: on AWS six times the function's timeout
PRIORITIES = ("high", "normal", "low")
# What a zip of python's own runtime would be, with the emulator's host in the place of its layers.
BOOTSTRAP = f"#!/bin/sh\nexec {sys.executable} -m awslambdaric $_HANDLER\n"


@contextmanager
def function(cloud: CloudUnderTest, served: CloudPlane, handler: str, **variables: str) -> Iterator[None]:
    """A function on the default pool, and mappings of its queues."""
    awslambda: Any = cloud.account.client("lambda")
    awslambda.create_function(
        FunctionName="agent",
        Runtime="provided.al2023",
        Role=f"arn:aws:iam::{cloud.account.id}:role/agent",
        Handler=handler,
        Code={"ZipFile": _zip()},
        MemorySize=MEMORY_MB,
        Timeout=30,
        Environment={
            "Variables": {
                "AWS_ENDPOINT_URL": cloud.account.url,
                "PYTHONPATH": str(REPOSITORY),
                "HTCGRID_URL": cloud.url,
                "HTCGRID_CACHE": cloud.environment["HTCGRID_CACHE"],
                "HTCGRID_LEASE_SECONDS": cloud.environment["HTCGRID_LEASE_SECONDS"],
                **variables,
            }
        },
    )
    queues = served.parameter.queues["default"]
    mappings = [_mapping(awslambda, cloud.account, getattr(queues, priority)) for priority in PRIORITIES]
    try:
        yield
    finally:
        for mapping in mappings:
            awslambda.delete_event_source_mapping(UUID=mapping)
        awslambda.delete_function(FunctionName="agent")


def _zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, BOOTSTRAP)
    return content.getvalue()


def _mapping(awslambda: Any, account: Account, url: str) -> str:
    account.sqs().set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": HIDDEN_SECONDS})
    made = awslambda.create_event_source_mapping(
        FunctionName="agent",
        EventSourceArn=f"arn:aws:sqs:{REGION}:{account.id}:{url.rpartition('/')[2]}",
        BatchSize=1,
        ScalingConfig={"MaximumConcurrency": 2},
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    return str(made["UUID"])


@pytest.mark.parametrize(
    ("tasks", "bundle_size", "every"), [(120, 10, 5), pytest.param(10_000, 40, 10, marks=pytest.mark.slow)]
)
def test_nothing_is_lost_when_invocations_are_killed(
    aws_cloud: CloudUnderTest, aws_grid: Grid, tmp_path: Path, tasks: int, bundle_size: int, every: int
) -> None:
    """One in five or ten: each task is done once, none fails, and no agent is there but the function."""
    log = tmp_path / "invocations"
    served = open_cloud(parse_aws(aws_cloud.url))
    variables = {
        mortal_function.LOG_VARIABLE: str(log),
        mortal_function.EVERY_VARIABLE: str(every),
        mortal_function.WITHIN_VARIABLE: "0.6",
    }
    with function(aws_cloud, served, "tests.aws.mortal_function.handler", **variables):
        session = aws_grid.submit(f"{HANDLERS}.double", range(tasks), bundle_size=bundle_size)
        deadline = time.monotonic() + GUARD_SECONDS
        while not session.done():
            assert time.monotonic() < deadline, f"not over: {session.progress()}, {_said(log)}"
            reconcile(served.plane, 1.0)  # as its schedule would
            time.sleep(0.5)
        while (said := _said(log))["began"] > said["answered"] + said["killed"]:
            assert time.monotonic() < deadline, f"invocations that do not end: {said}"
            time.sleep(0.1)
    served.close()
    assert list(session.results()) == [2 * number for number in range(tasks)]
    assert said["killed"] == said["began"] // every >= 2, said
    assert {task.state for task in session.tasks()} == {"COMPLETED"}


def _said(log: Path) -> Counter[str]:
    return Counter(log.read_text().splitlines())
