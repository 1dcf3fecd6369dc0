"""Importing is quick: what is not needed is not loaded."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import htcgrid_core

HEAVY = {
    "boto3",
    "botocore",
    "airflow",
    "prefect",
    "numpy",
    "pandas",
    "pydantic",
    "sqlite3",
    "cloudpickle",
    "rich",
    "click",
}


def loaded_by(statement: str) -> set[str]:
    """The top-level packages in a fresh interpreter after ``statement``."""
    script = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def modules_of(statement: str) -> set[str]:
    """The modules in a fresh interpreter after ``statement``."""
    script = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


def test_the_package_loads_nothing_heavy() -> None:
    assert not loaded_by("import htcgrid_core") & HEAVY


@pytest.mark.parametrize("name", ["GridError", "TaskState", "SessionState", "TaskError", "Context"])
def test_nor_do_its_plain_names(name: str) -> None:
    assert not loaded_by(f"from htcgrid_core import {name}") & HEAVY


def test_a_worker_starts_with_little() -> None:
    """Each agent starts one for each slot: tens of milliseconds each."""
    assert not loaded_by("import htcgrid_core.agent.worker_main") & HEAVY


def test_an_agent_starts_without_what_serves_its_health() -> None:
    """Whoever submits first waits for each of them."""
    assert not loaded_by("import htcgrid_core.local.serve") & {"http", "ssl", "socketserver", "prometheus_client"}


def test_connecting_needs_no_other_grid() -> None:
    others = {"boto3", "botocore", "airflow", "prefect", "numpy", "pandas", "starlette", "uvicorn"}
    assert not loaded_by("from htcgrid_core import connect, Grid, Session, RetryPolicy") & others


def test_a_client_of_the_embedded_grid_loads_neither_agents_nor_formats_of_files() -> None:
    """They took a third of the time to the first result."""
    found = modules_of(
        "from htcgrid_core.client.grid import Grid\nimport htcgrid_core.local.embedded, htcgrid_core.local.address"
    )
    assert not {name for name in found if name.startswith(("htcgrid_core.agent.loop", "htcgrid_core.agent.workers"))}
    assert not found & {"htcgrid_core.client.event_files", "gzip", "ctypes"}


def test_the_core_knows_no_adapter_but_where_it_is_put_together() -> None:
    """domain, ports, services and codecs import none."""
    statement = """
import pkgutil, importlib, htcgrid_core
for layer in ("domain", "ports", "services", "codecs"):
    package = importlib.import_module(f"htcgrid_core.{layer}")
    for found in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"htcgrid_core.{layer}.{found.name}")
"""
    assert not [name for name in modules_of(statement) if name.startswith("htcgrid_core.adapters")]


def test_every_public_name_is_there() -> None:
    assert sorted(htcgrid_core.__all__) == dir(htcgrid_core)
    for name in htcgrid_core.__all__:
        assert getattr(htcgrid_core, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = htcgrid_core.nonsense
