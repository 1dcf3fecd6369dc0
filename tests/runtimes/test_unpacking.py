"""A package that cannot be unpacked because of the machine is charged to the machine, not to its function."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from htcgrid_core.agent.workers import captured_output
from htcgrid_core.agent.workers.launch import BAD_MACHINE, BAD_PACKAGE, launcher
from htcgrid_core.ports.worker import LoadFailed, StartFailed
from tests.runtimes.clients import hosted

DIGEST = "0" * 64


def unpacked_in(cache: Path, package: Path) -> tuple[str, ...]:
    return launcher(cache, DIGEST, str(package), 1 << 30, None, "mine")


@pytest.fixture
def unusable(tmp_path: Path) -> Path:
    """A cache that this machine does not let its user use, as on a full disk."""
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    return cache


@pytest.mark.parametrize("is_full", [False, True], ids=["", "what is printed is lost"])
def test_it_is_the_machines_fault(
    tmp_path: Path, unusable: Path, monkeypatch: pytest.MonkeyPatch, is_full: bool
) -> None:
    if is_full:
        monkeypatch.setattr(captured_output, "capture_file", lambda: os.open("/dev/full", os.O_RDWR | os.O_CLOEXEC))
    with hosted(tmp_path) as host:
        host.run(["event"], launched_by=unpacked_in(unusable, tmp_path / "package"))
        failed = host.first(StartFailed)
        assert failed.serial == 1
        assert f"package {DIGEST} cannot be unpacked in {unusable}: " in failed.reason
        assert not host.pool.busy


def test_a_package_that_cannot_be_unpacked_anywhere_is_its_functions(tmp_path: Path) -> None:
    (tmp_path / "package").write_bytes(b"another")
    with hosted(tmp_path) as host:
        host.run(["event"], launched_by=unpacked_in(tmp_path / "cache", tmp_path / "package"))
        assert "does not have the digest" in host.first(LoadFailed).error.traceback


def test_a_program_with_the_same_exit_code_is_its_functions(tmp_path: Path) -> None:
    """Or one function would stop an agent for all others."""
    with hosted(tmp_path, f"#!/bin/sh\nexit {BAD_MACHINE}\n") as host:
        host.run(["event"])
        assert f"exited with code {BAD_MACHINE}" in host.first(LoadFailed).error.message


@pytest.mark.parametrize(("is_usable", "code"), [(False, BAD_MACHINE), (True, BAD_PACKAGE)])
def test_the_exit_code_does_not_need_what_is_printed(
    tmp_path: Path, unusable: Path, is_usable: bool, code: int
) -> None:
    """Agents tell by it whose fault it was, for native workers too."""
    (tmp_path / "package").write_bytes(b"another")
    command = [*unpacked_in(tmp_path / "usable" if is_usable else unusable, tmp_path / "package"), "true"]
    with open("/dev/full", "wb") as full:
        assert subprocess.run(command, stderr=full, timeout=60, check=False).returncode == code
