"""The client in Go: its own suite on a real server, and the example's table."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

import pytest

from tests.clients.conftest import folder_of

OFFLINE = {"GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": "-mod=mod"}


def run(command: list[str], environment: Mapping[str, str]) -> str:
    """What a command in the client's folder prints."""
    done = subprocess.run(
        command, cwd=folder_of("go"), env={**environment, **OFFLINE}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_suite(go: str, environment: Mapping[str, str]) -> None:
    assert "ok" in run([go, "test", "-count=1", "."], environment)


PAGED = "Uploads|TasksCome|AStreamIs"  # tests whose answers come in pages there


def test_pages_of_lambda(go: str, on_lambda: Mapping[str, str]) -> None:
    """Where no answer is a stream: what is large comes in pages, and the client asks for each."""
    told = run([go, "test", "-count=1", "-v", "-run", PAGED, "."], on_lambda)
    assert told.count("--- PASS") >= 3


@pytest.mark.slow
def test_its_suite_on_lambda(go: str, on_lambda: Mapping[str, str]) -> None:
    assert "ok" in run([go, "test", "-count=1", "."], on_lambda)


def test_the_example_prints_the_table_of_python(
    go: str, environment: Mapping[str, str], arguments: list[str], table: str
) -> None:
    assert run([go, "run", "./examples/puts", *arguments], environment) == table
