"""The client in Java: its own suite on a real server, and the example's table."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.conftest import folder_of

JARS = Path("/usr/share/java")  # where Debian has them
JUNIT = (
    "junit-jupiter-api", "junit-jupiter-engine", "junit-platform-commons", "junit-platform-engine",
    "junit-platform-launcher", "junit-platform-console", "junit-platform-reporting", "opentest4j", "apiguardian-api",
    "picocli",
)  # fmt: skip


def run(command: list[str], environment: Mapping[str, str]) -> str:
    """What a command prints."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def suite(classes: Path, environment: Mapping[str, str]) -> list[str]:
    """The command that runs its suite."""
    missing = [name for name in JUNIT if not (JARS / f"{name}.jar").exists()]
    if missing:
        pytest.skip(f"JUnit is not installed (apt-get install junit5): {', '.join(missing)}")
    path = ":".join([str(classes), *(str(JARS / f"{name}.jar") for name in JUNIT)])
    tests = classes.parent / "tests"
    sources = map(str, folder_of("java").glob("src/test/java/htcgrid/*.java"))
    run(["javac", "--release", "17", "-cp", path, "-d", str(tests), *sources], environment)
    return ["java", "-cp", f"{tests}:{path}", "org.junit.platform.console.ConsoleLauncher"]


def test_its_suite(suite: list[str], classes: Path, environment: Mapping[str, str]) -> None:
    _passes([*suite, "--scan-classpath", str(classes.parent / "tests")], environment)


def test_pages_of_lambda(suite: list[str], on_lambda: Mapping[str, str]) -> None:
    """Where no answer is a stream: what is large comes in pages, and the client asks for each."""
    methods = ("uploadsWhatOneRequestDoesNotHold", "tasksComeAsTheyComplete")
    _passes([*suite, *(f"--select-method=htcgrid.HtcGridTest#{method}" for method in methods)], on_lambda)


@pytest.mark.slow
def test_its_suite_on_lambda(suite: list[str], classes: Path, on_lambda: Mapping[str, str]) -> None:
    _passes([*suite, "--scan-classpath", str(classes.parent / "tests")], on_lambda)


def _passes(command: list[str], environment: Mapping[str, str]) -> None:
    told = run(command, environment)
    counts = {what: int(count) for count, what in re.findall(r"(\d+) tests (\w+)", told)}
    assert counts["failed"] == 0
    assert counts["successful"] > 0


def test_the_example_prints_the_table_of_python(
    classes: Path, environment: Mapping[str, str], arguments: list[str], table: str
) -> None:
    """In little memory, too."""
    assert run(["java", "-Xmx64m", "-cp", str(classes), "AmericanPuts", *arguments], environment) == table
