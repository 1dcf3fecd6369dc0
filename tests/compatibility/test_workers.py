"""An agent starts workers with the submitter's interpreter, and so workers of other releases than its own."""

from __future__ import annotations

import importlib

from htcgrid_core.agent.workers.native import wire
from htcgrid_core.agent.workers.native.wire import ChunkBody, Gauge, Kind
from htcgrid_core.agent.workers.native.worker_main import main

KINDS = {"FUNCTION": 1, "CHUNK": 2, "HELLO": 3, "LOADED": 4, "LOAD_FAILED": 5, "STALE": 6, "OUTCOMES": 7}
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
    assert {kind.name: kind.value for kind in Kind} == KINDS
    assert wire.pack_chunk(ChunkBody("s-1", 7, [0, 3], [1, 2], [1, 2], {"d": "p"}, b"abc")).hex() == CHUNK
    assert wire.pack_outcomes(7, b"xyz").hex() == OUTCOMES
    assert wire.json_message(Kind.FUNCTION, {"a": 1}).hex() == FUNCTION
    assert Gauge.SIZE == 128
