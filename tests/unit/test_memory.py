"""The memory that a worker without a limit may use, in a container too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core.agent import memory

MACHINE = 1 << 40


@pytest.fixture(autouse=True)
def _a_large_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(memory, "_physical_bytes", lambda: MACHINE)
    memory.available_mb.cache_clear()
    yield
    memory.available_mb.cache_clear()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "536870912\n"}, 512),
        ({"memory.max": "1000\n"}, 1),
        ({"memory.max": "max\n"}, MACHINE >> 20),
        ({"memory/memory.limit_in_bytes": "1073741824\n"}, 1024),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, MACHINE >> 20),
        ({}, MACHINE >> 20),
    ],
)
def test_a_containers_share_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    assert memory.available_mb() == expected
