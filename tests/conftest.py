"""What every test may use: a plane in memory, its clock, and one profile of Hypothesis."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from htcgrid_core.ports.plane import Plane
from tests.aws.fixtures import aws_account, ministack_url, moto_account, moto_url  # noqa: F401 - fixtures for every test
from tests.planes import ManualClock, memory_plane

# No deadline: two cores are shared with agents and their workers. The same examples every time: a failure repeats.
# A suite that a shell started in the background inherits an ignored SIGINT, and so would the programs under test.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Airflow and Prefect do not install together: `make test` runs each one's tests in its own virtual environment, and so
# those of sources and sinks, whose libraries are large.
collect_ignore = [engine for engine in ("airflow", "prefect") if find_spec(engine) is None]
if find_spec("deltalake") is None:
    collect_ignore.append("data")

settings.register_profile(
    "grid", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# HYPOTHESIS_PROFILE=search looks further, and elsewhere every time.
settings.register_profile("search", settings.get_profile("grid"), derandomize=False, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "grid"))


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
def plane(tmp_path: Path, clock: ManualClock) -> Plane:
    """A grid in memory, without agents."""
    return memory_plane(tmp_path, clock=clock)
