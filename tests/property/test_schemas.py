"""A check by a schema refuses exactly what a plain validator does: of any events, however they are submitted."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htcgrid_core.codecs import frames
from htcgrid_core.codecs.events import data_of, encoded
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidEvents, SessionNotFound
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.services import uploads
from htcgrid_core.services.asked import Asked
from htcgrid_core.services.cutting import cut
from htcgrid_core.testing.contracts.gateway_functions import draft, package
from tests.planes import StillDeployment, memory_plane

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 0},
        "on": {"type": "string", "format": "date"},
        "legs": {"type": "array", "maxItems": 2, "items": {"type": ["number", "null"]}},
        "desk": {"enum": ["rates", "fx"]},
    },
    "required": ["id"],
    "additionalProperties": False,
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
NEARLY = st.fixed_dictionaries(
    {"id": st.integers(-2, 2**70) | ANYTHING},
    optional={
        "on": st.dates().map(str) | st.text(max_size=10),
        "legs": st.lists(st.floats() | st.integers() | st.none() | st.text(max_size=1), max_size=3),
        "desk": st.sampled_from(["rates", "fx", "equity"]),
        "x": ANYTHING,
    },
)
EVENTS = st.lists(NEARLY | st.builds(dict, id=st.integers(0, 9)) | ANYTHING, max_size=30)
ID = "s-0123456789abcdef"

Place = tuple[InProcessGateway, SessionSpec]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A grid in memory with a function that has the schema."""
    with tempfile.TemporaryDirectory() as folder:
        gateway = InProcessGateway(StillDeployment(memory_plane(Path(folder))), actor="tester")
        version = gateway.deploy(draft("priced", events_schema=SCHEMA), package())
        yield gateway, SessionSpec(function=version.spec())


def refused_by_a_plain_validator(events: list[Any]) -> list[int]:
    """Of what the events are once they were written as JSON, row by row."""
    validator = jsonschema_rs.validator_for(SCHEMA, validate_formats=True)
    bad = []
    for row, event in enumerate(json.loads(json.dumps(events))):
        try:
            if not validator.is_valid(event):
                bad.append(row)
        except ValueError:  # lone surrogates
            bad.append(row)
    return bad


def assert_told(error: InvalidEvents, events: list[Any], expected: list[int]) -> None:
    assert (error.bad, error.checked) == (len(expected), len(events))
    rows = [one.row for one in error.problems]
    assert len(rows) <= 20
    assert rows == sorted(rows)
    assert list(dict.fromkeys(rows)) == expected[: len(set(rows))]


@given(EVENTS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_all_refuses_exactly_what_a_plain_validator_refuses(place: Place, events: list[Any], is_large: bool) -> None:
    gateway, spec = place
    expected, plane = refused_by_a_plain_validator(events), gateway.plane
    before, blobs = len(gateway.sessions(limit=10_000)), plane.blobs.keys("sessions/")
    session_id = f"s-{plane.token()}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "SUBMIT_BUFFER_BYTES", 100 if is_large else limits.SUBMIT_BUFFER_BYTES)
        try:
            record = gateway.submit(session_id, spec, encoded("json", iter(events)), total=None, idempotent=False)
        except InvalidEvents as error:
            assert_told(error, events, expected)
            assert len(gateway.sessions(limit=10_000)) == before
            assert plane.blobs.keys("sessions/") == blobs
            return
    assert expected == []
    assert record.counters.total == len(events)
    assert list(gateway.events(record)) == [data_of(event) for event in encoded("json", events)]


@given(st.lists(EVENTS, min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
def test_so_do_sealed_uploads(place: Place, parts: list[list[Any]]) -> None:
    gateway, spec = place
    plane, events = gateway.plane, [event for part in parts for event in part]
    expected, session_id = refused_by_a_plain_validator(events), f"s-{plane.token()}"
    uploads.start(plane, session_id, Asked(spec).write())
    for number, part in enumerate(parts):
        uploads.put_part(plane, session_id, number, frames.pack([data_of(one) for one in encoded("json", part)], []))
    uploads.seal(plane, session_id, len(parts))
    record = cut(plane, session_id)
    if not expected:
        assert record is not None
        assert record.counters.total == len(events)
        return
    assert record is None
    with pytest.raises(SessionNotFound):
        gateway.session(session_id)
    failed = uploads.read(plane, session_id).failed
    assert failed is not None
    assert (failed["code"], failed["bad"]) == ("invalid-events", len(expected))
    assert failed["problems"][0]["row"] == expected[0]
