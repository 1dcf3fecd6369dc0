"""Events in files: for workers that say that they read them; to others their agent sends what it has verified."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.agent.workers.native import wire
from htcgrid_core.agent.workers.native.wire import ChunkBody, Kind
from htcgrid_core.codecs import pieces
from htcgrid_core.codecs.outcomes import decode_error
from htcgrid_core.codecs.stored_part import StoredPart
from htcgrid_core.ports.worker import Chunk, Refused, StartFailed
from tests.security.played_workers import Looking, Played, played
from tests.security.test_hostile_worker import chunk

BODY = b"123"
NAMED = bytes((Kind.STORED_CHUNK,))


def stored(folder: Path) -> Chunk:
    """A chunk of three tasks whose events are in a file."""
    path = folder / "events"
    path.write_bytes(BODY)
    digests = pieces.read_table(pieces.table(BODY), pieces.sealed_bytes(len(BODY)), "a test's").digests
    return replace(chunk(3, [10, 11, 12]), data=StoredPart(str(path), 0, len(BODY), 0, len(BODY), digests))


@pytest.fixture
def given(tmp_path: Path) -> Callable[..., tuple[list[ChunkBody], list[Any]]]:
    """What a worker is given of such a chunk, and what its pool says."""

    def give(hello: bytes, damage: bytes = b"") -> tuple[list[ChunkBody], list[Any]]:
        with played() as started:
            pool = Looking(1, None)
            pool.run(0, replace(chunk(1, [1])))
            (worker,) = started
            assert isinstance(worker, Played)
            pool.wait(0.0)
            worker.hello = False  # it says so again, and what it reads
            worker.send(wire.message(Kind.HELLO, hello))
            pool.wait(0.0)
            list(worker.arrived())
            given = stored(tmp_path)
            if damage:
                (tmp_path / "events").write_bytes(damage)
            pool.run(0, given)
            events = pool.wait(0.0)
            found = list(worker.arrived())
            pool.close()
        return found, events

    return give


def test_a_worker_that_reads_files_is_told_where(given: Callable[..., Any], tmp_path: Path) -> None:
    ((found,), _) = given(NAMED)
    assert isinstance(found.data, StoredPart)
    assert found.data.path == str(tmp_path / "events")
    assert bytes(found.data) == BODY


@pytest.mark.parametrize("hello", [b"", bytes((99,))])
def test_another_is_sent_the_events(given: Callable[..., Any], hello: bytes) -> None:
    ((found,), _) = given(hello)
    assert found.data == BODY


def test_what_cannot_be_read_for_it_is_refused(given: Callable[..., Any]) -> None:
    found, events = given(b"", damage=b"12x")
    assert found == []
    refused = [event for event in events if isinstance(event, Refused)]
    assert [event.outcome.index for event in refused] == [10, 11, 12]
    assert {decode_error(event.outcome.payload).type for event in refused} == {"CorruptPayload"}
    assert os.path.basename("events") in decode_error(refused[0].outcome.payload).message


def test_what_cannot_be_read_now_charges_no_task(given: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As when descriptors are short: others take the tasks, or this agent does later."""

    opens = os.open

    def short(path: Any, flags: int, *mode: int) -> int:
        if os.path.basename(path) == "events":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        return opens(path, flags, *mode)

    monkeypatch.setattr(os, "open", short)
    found, events = given(b"")
    assert found == []
    assert [event.serial for event in events if isinstance(event, StartFailed)] == [3]
    assert not any(isinstance(event, Refused) for event in events)
