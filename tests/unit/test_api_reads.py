"""Reads: how those of several tenants share a server."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from htcgrid_core.api.failure import Failure
from htcgrid_core.api.reads import AT_ONCE, MOST_OF_TENANT, Read, Reads
from tests.e2e.support import eventually

GUARD_SECONDS = 60.0


def test_a_tenant_with_many_reads_keeps_no_other_waiting() -> None:
    reads, begun = Reads(), list[str]()
    begins, ends = threading.Semaphore(0), threading.Semaphore(0)

    def work(read: Read) -> Any:
        begun.append(read.tenant)
        begins.release()
        assert ends.acquire(timeout=GUARD_SECONDS)
        return read.tenant

    asked = [reads.of(number, "rates", work) for number in range(MOST_OF_TENANT)]
    for _ in range(AT_ONCE):
        assert begins.acquire(timeout=GUARD_SECONDS)
    with pytest.raises(Failure, match=f"{MOST_OF_TENANT} sources of the tenant already"):
        reads.of("more", "rates", work)
    asked.append(reads.of("desk", "desk", work))
    eventually(lambda: len(reads._places._waiting) == len(asked) - AT_ONCE, "all others wait")
    ends.release()
    assert begins.acquire(timeout=GUARD_SECONDS)
    assert begun == ["rates"] * AT_ONCE + ["desk"]
    ends.release(len(asked))
    found: list[Any] = [read.future.result(GUARD_SECONDS) for read in asked]
    assert found == ["rates"] * MOST_OF_TENANT + ["desk"]
    assert reads.of("desk", "desk", work) is asked[-1]
    reads.told("desk", asked[-1])
    assert "desk" not in reads._under_way


def test_a_read_that_fails_gives_its_place_back() -> None:
    reads = Reads()

    def fails(read: Read) -> Any:
        raise OSError("no")

    for number in range(2 * AT_ONCE):
        read = reads.of(number, "rates", fails)
        assert isinstance(read.future.exception(GUARD_SECONDS), OSError)
        reads.told(number, read)
