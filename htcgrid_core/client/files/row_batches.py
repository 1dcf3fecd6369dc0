"""Rows of results in batches that a table's writer holds at once: by their number and by their bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

BATCH_ROWS = 10_000
BATCH_BYTES = 64 << 20  # of their JSON, unless one row is larger


def batched(rows: Iterable[tuple[dict[str, Any], int]]) -> Iterator[list[dict[str, Any]]]:
    """Rows in their order.

    Args:
        rows: each with how many bytes it has as JSON.
    """
    batch: list[dict[str, Any]] = []
    size = 0
    for row, length in rows:
        batch.append(row)
        size += length
        if len(batch) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
