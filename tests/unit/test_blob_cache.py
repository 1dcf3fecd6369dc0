"""The folder of fetched blobs, which threads and processes share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from htcgrid_core.adapters.aws.s3.cache import BlobCache
from htcgrid_core.disk.cache import DiskCache


def test_a_file_that_vanishes_while_room_is_made_is_no_failure(tmp_path: Path) -> None:
    """Several claims of one agent fetch at the same time: each writes beside, and renames."""
    cache = BlobCache(DiskCache(tmp_path, 1 << 30))
    with ThreadPoolExecutor(4) as pool:
        files = list(
            pool.map(lambda number: cache.add(f"shared/{number}", lambda path: path.write_bytes(b"x")), range(400))
        )
    assert all(file.read_bytes() == b"x" for file in files)
