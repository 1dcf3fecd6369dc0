"""What machines keep of what they fetched: bounded, shared between processes, and never what it should not be."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from htcgrid_core.adapters.aws.s3.cache import BlobCache
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.domain import limits
from htcgrid_core.testing.contracts.facts import together

SIZE = 10_000


def blob(text: str) -> tuple[str, bytes]:
    """Key and bytes of a blob."""
    data = text.encode() * (SIZE // len(text))
    return f"shared/{hashlib.sha256(data).hexdigest()}", data


def writing(data: bytes) -> Callable[[Path], object]:
    """What fetches these bytes."""
    return lambda path: path.write_bytes(data)


def cache_of(folder: Path, limit_bytes: int = 1 << 30) -> BlobCache:
    return BlobCache(DiskCache(folder, limit_bytes))


def kept(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if not path.name.startswith("."))


@pytest.fixture
def unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for is in use no more."""
    monkeypatch.setattr(limits, "CACHED_BLOB_IN_USE_SECONDS", -1.0)


@pytest.mark.usefixtures("unused")
def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    cache = cache_of(tmp_path, int(2.5 * SIZE))
    (one, first), (two, second), (three, third) = (blob(text) for text in "abc")
    cache.add(one, writing(first))
    cache.add(two, writing(second))
    assert cache.find(one) is not None
    cache.add(three, writing(third))
    assert [cache.find(key) is not None for key in (one, two, three)] == [True, False, True]
    assert kept(tmp_path) <= 2.5 * SIZE


@pytest.mark.usefixtures("unused")
def test_a_blob_larger_than_the_limit_is_there_all_the_same(tmp_path: Path) -> None:
    cache = cache_of(tmp_path, SIZE // 2)
    for text in "ab":
        key, data = blob(text)
        assert cache.add(key, writing(data)).read_bytes() == data
        assert kept(tmp_path) == SIZE, "and nothing else"


def test_what_is_in_use_stays(tmp_path: Path) -> None:
    cache = cache_of(tmp_path, SIZE // 2)
    blobs = [blob(text) for text in "abc"]
    for key, data in blobs:
        cache.add(key, writing(data))
    assert all(cache.find(key) is not None for key, _ in blobs)


@pytest.mark.usefixtures("unused")
def test_packages_and_blobs_share_the_room(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path, int(2.5 * SIZE))
    cache = BlobCache(disk)
    (one, first), (two, second), (three, third) = (blob(text) for text in "abc")

    def write(folder: Path) -> None:
        folder.mkdir()
        (folder / "file").write_bytes(b"x" * SIZE)

    cache.add(one, writing(first))
    fd = disk.hold("package", write, Path.is_dir)
    cache.add(two, writing(second))
    assert [cache.find(key) is not None for key in (one, two)] == [False, True]
    cache.add(three, writing(third))
    assert (tmp_path / "package").is_dir(), "somebody holds it"
    os.close(fd)
    cache.add(one, writing(first))
    assert not (tmp_path / "package").exists()


@pytest.mark.parametrize("damage", [b"", b"x" * SIZE, b"x" * (SIZE + 1)], ids=["empty", "same size", "longer"])
def test_a_damaged_file_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes) -> None:
    key, data = blob("a")
    path = cache_of(tmp_path).add(key, writing(data))
    cache = cache_of(tmp_path)
    assert cache.find(key) == path
    path.write_bytes(damage)
    monkeypatch.setattr(limits, "CACHED_BLOB_TRUSTED_SECONDS", 0.0)
    assert cache.find(key) is None
    assert not path.exists()
    assert cache.add(key, writing(data)).read_bytes() == data


def test_a_replaced_file_is_looked_at_at_once(tmp_path: Path) -> None:
    key, data = blob("a")
    cache = cache_of(tmp_path)
    path = cache.add(key, writing(data))
    assert cache.find(key) == path
    path.unlink()
    path.write_bytes(b"another")
    assert cache.find(key) is None


def test_what_has_no_digest_in_its_key_is_never_found(tmp_path: Path) -> None:
    cache = cache_of(tmp_path)
    assert cache.add("sessions/s-1/events/0", writing(b"data")).read_bytes() == b"data"
    assert cache.find("sessions/s-1/events/0") is None


def test_two_processes_share_it(tmp_path: Path) -> None:
    """Each sees what the other has kept, whole, while both make room all the time."""
    script = tmp_path / "other.py"
    script.write_text(f"""
from pathlib import Path
from htcgrid_core.domain import limits
limits.CACHED_BLOB_IN_USE_SECONDS = -1.0
from tests.unit.test_disk_cache import blob, cache_of, writing, SIZE
cache = cache_of(Path({str(tmp_path / "cache")!r}), 3 * SIZE)
for turn in range(60):
    key, data = blob("abcdef"[turn % 6])
    path = cache.find(key) or cache.add(key, writing(data))
    try:
        assert path.read_bytes() == data
    except FileNotFoundError:
        pass  # without the time in use, the other may make room at once
""")
    command = [sys.executable, str(script)]
    repository = str(Path(__file__).parents[2])
    runs = [
        lambda: subprocess.run(
            command, env={**os.environ, "PYTHONPATH": repository}, capture_output=True, text=True, timeout=60
        )
    ] * 2
    for ran in together(runs):
        assert isinstance(ran, subprocess.CompletedProcess)
        assert ran.returncode == 0, ran.stderr
    assert kept(tmp_path / "cache") <= 3 * SIZE
