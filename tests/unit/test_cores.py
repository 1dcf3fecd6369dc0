"""Cores of a container are those of its quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from htcgrid_core.local.cores import available_cores, cpu_quota


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", None), ("200000 100000", 2.0), ("50000 100000", 0.5), ("nonsense", None)]
)
def test_version_2(tmp_path: Path, text: str, cores: float | None) -> None:
    (tmp_path / "cpu.max").write_text(f"{text}\n")
    assert cpu_quota(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", None), ("150000", 1.5)])
def test_version_1(tmp_path: Path, quota: str, cores: float | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert cpu_quota(tmp_path) == cores


def test_no_cgroup_is_no_limit(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == len(os.sched_getaffinity(0))


def test_at_least_one_and_no_more_than_there_are(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("10000 100000")
    assert available_cores(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("100000000 100000")
    assert available_cores(tmp_path) == len(os.sched_getaffinity(0))
