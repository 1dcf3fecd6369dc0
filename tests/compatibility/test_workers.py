"""An agent starts workers with the submitter's interpreter, and so workers of other releases than its own."""

from __future__ import annotations

import hashlib
import importlib
import os
import pickle
import socket
from pathlib import Path

import pytest

from htcgrid_core.agent.workers.native import wire
from htcgrid_core.agent.workers.native.loading import load
from htcgrid_core.agent.workers.native.wire import ChunkBody, Gauge, Kind, gauge_memory
from htcgrid_core.agent.workers.native.worker_main import Worker, main
from htcgrid_core.codecs.shared import SharedInput
from htcgrid_core.codecs.signing import SIGNATURE_BYTES

KINDS = {"FUNCTION": 1, "CHUNK": 2, "HELLO": 3, "LOADED": 4, "LOAD_FAILED": 5, "STALE": 6, "OUTCOMES": 7}
NEW_KINDS = {
    "WAITS": 8,
    "RESULT": 9,
    "USED": 10,
    "STORED_CHUNK": 11,
}  # told to those that say, or whose release says, that they take them
# As the release before packs them.
CHUNK = (
    "360000000207000000000000000200000003000a0000000000000003000000010002000100000002000000"
    "732d317b2264223a202270227d616263"
)
OUTCOMES = "0b00000007070000000000000078797a"
FUNCTION = "08000000017b2261223a20317d"


def test_the_worker_is_where_the_release_before_starts_it() -> None:
    assert importlib.import_module("htcgrid_core.agent.worker_main").main is main


def test_they_say_what_the_release_before_says() -> None:
    assert {kind.name: kind.value for kind in Kind} == {**KINDS, **NEW_KINDS}
    assert wire.pack_chunk(ChunkBody("s-1", 7, [0, 3], [1, 2], [1, 2], {"d": "p"}, b"abc")).hex() == CHUNK
    assert wire.pack_outcomes(7, b"xyz").hex() == OUTCOMES
    assert wire.json_message(Kind.FUNCTION, {"a": 1}).hex() == FUNCTION
    assert Gauge.SIZE == 128


def test_an_agent_that_names_no_grid_is_told_of_no_wait() -> None:
    ours, theirs = socket.socketpair()
    fd = gauge_memory()
    with ours, theirs:
        theirs.setblocking(False)
        worker = Worker(ours, Gauge(fd))
        worker._this.waits("somebody", ["s-1"])
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        worker._this.grid = "a grid"
        worker._this.waits("somebody", ["s-2"])
        assert wire.HEAD.unpack_from(theirs.recv(100))[1] == Kind.WAITS
    os.close(fd)


def test_a_function_is_loaded_that_an_older_agent_names_by_its_file_alone(tmp_path: Path) -> None:
    sealed = bytes(SIGNATURE_BYTES) + pickle.dumps(abs)
    path = tmp_path / hashlib.sha256(sealed).hexdigest()
    path.write_bytes(sealed)
    assert load({"name": "x:y", "callable_path": str(path)})(-41) == 41


def test_shared_inputs_are_found_whichever_names_an_agent_gives_them() -> None:
    as_bytes, as_pickle = SharedInput("a" * 64, "bytes"), SharedInput("a" * 64, "pickle")
    older, newer = {"a" * 64: "path"}, wire.shared_names({f"{'a' * 64}.bytes": "path"})
    assert newer["a" * 64] == "path", "workers of the release before look for this"
    assert wire.shared_path(older, as_bytes) == wire.shared_path(newer, as_bytes) == "path"
    assert wire.shared_path(newer, as_pickle) is None, "nobody has verified a signature"
    assert wire.shared_path({}, as_bytes) is None
