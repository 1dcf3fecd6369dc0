"""The server that the tests of this folder use is a real one, and the only one that they see."""

from __future__ import annotations

import subprocess
import sys

from prefect import flow, task
from prefect.client.orchestration import get_client


@task
def double(number: int) -> int:
    return 2 * number


@flow
def doubling() -> int:
    return double.submit(21).result()


def test_a_flow_runs_on_it(prefect_server: str) -> None:
    with get_client(sync_client=True) as client:
        assert str(client.api_url).rstrip("/") == prefect_server
    assert doubling() == 42


def test_importing_the_package_loads_neither_prefect_nor_the_core() -> None:
    heavy = {"prefect", "htcgrid_core", "boto3", "pydantic"}
    script = f"import sys, htcgrid_prefect; print([name for name in sorted({heavy}) if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"
