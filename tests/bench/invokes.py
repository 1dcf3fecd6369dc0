"""Invocations by boto3, of a served grid and of ministack's Lambda: one caller after the other, and many at once."""

from __future__ import annotations

import io
import statistics
import threading
import time
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from rich.table import Table

from tests.aws.emulators import MINISTACK, ministack
from tests.served import Server

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

CALLERS = (1, 16, 64)
FUNCTION = "echo"
CODE = "def handler(event, context):\n    return event\n"


def client(url: str, key_id: str, secret: str) -> LambdaClient:
    """Of as many connections as there are callers."""
    return boto3.client(
        "lambda", endpoint_url=url, region_name="eu-west-1", aws_access_key_id=key_id, aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=max(CALLERS)),
    )  # fmt: skip


def invoked(table: Table, who: str, found: LambdaClient, calls: int, cpu: Callable[[], float] | None = None) -> None:
    """Rows of so many calls by each number of callers.

    Args:
        cpu: seconds that the server has used; None if that is not known.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("code.py", CODE)
    found.create_function(
        FunctionName=FUNCTION, Runtime="python3.11", Role="arn:aws:iam::000000000000:role/none", Handler="code.handler",
        Code={"ZipFile": buffer.getvalue()},
    )  # fmt: skip
    found.get_waiter("function_active_v2").wait(FunctionName=FUNCTION)
    found.invoke(FunctionName=FUNCTION, Payload=b"1")
    for callers in CALLERS:
        times: list[float] = []

        def call(count: int = calls // callers, times: list[float] = times) -> None:
            for _ in range(count):
                began = time.perf_counter()
                answer = found.invoke(FunctionName=FUNCTION, Payload=b"1")
                assert answer["Payload"].read() == b"1", answer
                times.append(time.perf_counter() - began)

        threads = [threading.Thread(target=call) for _ in range(callers)]
        before, began = cpu() if cpu else 0.0, time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
        told = f"{len(times) / seconds:,.0f} a second, p50 {statistics.median(times) * 1000:.1f} ms"
        if cpu:
            told += f", {(cpu() - before) / len(times) * 1e6:,.0f} µs of the server's CPU"
        table.add_row(f"invoke, {callers} at once, {who}", told)


def invokes(table: Table, server: Server, cpu: Callable[[], float], calls: int) -> None:
    """Of this server, then of ministack if that is installed."""
    key = server.keys[0]
    invoked(table, "htcgrid", client(server.url, key.id, key.secret), calls, cpu)
    if not MINISTACK.exists():
        table.add_row("invoke, ministack", "is not installed: make .venv-ministack/ready")
        return
    with ministack() as url:
        invoked(table, "ministack", client(url, "000000000001", "test"), calls)
