"""``htcgrid events``: submissions and ends as CloudEvents, each at least once, from where the last one stopped."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from htcgrid_core import InvalidInput
from htcgrid_core.cli.events import _time_of
from htcgrid_core.client.session_events import SessionEvents
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.ports.plane import Plane
from tests.manual_agent import finish
from tests.planes import NOW, ManualClock, gateway_of, still_grid


def _all(found: SessionEvents) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    more = True
    while more:
        page, more = found.page()
        events += page
    return events


def _told(found: SessionEvents) -> list[tuple[str, str]]:
    return [(event["type"].rpartition(".")[2], event["subject"]) for event in _all(found)]


def _following(plane: Plane, **options: Any) -> SessionEvents:
    return SessionEvents(gateway_of(still_grid(plane)), **options)


def _good(event: Any) -> Any:
    return event


def test_submissions_and_ends_come_once(plane: Plane, clock: ManualClock) -> None:
    found, grid = _following(plane, since=NOW - 1), still_grid(plane)
    first = grid.submit("math.sqrt", [1], labels={"desk": "rates"})
    assert _told(found) == [("submitted", first.id)]
    finish(plane, _good)
    clock.pass_(1)
    second = grid.submit("math.sqrt", [1])
    second.cancel()
    assert _told(found) == [("submitted", second.id), ("completed", first.id), ("cancelled", second.id)]
    assert _told(found) == []


def test_what_is_told_is_a_cloud_event(plane: Plane) -> None:
    found, grid = _following(plane, since=NOW - 1), still_grid(plane)
    session = grid.submit("math.sqrt", [1, 2], name="book", labels={"desk": "rates"})
    finish(plane, _good)
    submitted, ended = _all(found)
    for event in (submitted, ended):
        assert (event["specversion"], event["source"], event["subject"]) == ("1.0", "htcgrid", session.id)
        assert event["data"]["labels"] == {"desk": "rates"}
    assert submitted["id"] != ended["id"]
    assert (ended["data"]["state"], ended["data"]["total"], ended["data"]["completed"]) == ("COMPLETED", 2, 2)
    assert [event["id"] for event in _all(_following(plane, since=NOW - 1))] == [submitted["id"], ended["id"]]


def test_goes_on_from_its_position(plane: Plane, clock: ManualClock) -> None:
    """Whoever died has told everything up to it, and its successor the rest."""
    found, grid = _following(plane, since=NOW - 1), still_grid(plane)
    told: list[tuple[str, str]] = []
    wanted = set()
    for number in range(6):
        session = grid.submit("math.sqrt", [number])
        wanted |= {("submitted", session.id), ("completed", session.id)}
        clock.pass_(0.5)
        told += _told(found)
        finish(plane, _good)
        found = _following(plane, position=found.position)
    told += _told(found)
    assert sorted(told) == sorted(wanted)


def test_a_submitter_whose_clock_is_behind(plane: Plane, clock: ManualClock) -> None:
    found = _following(plane, since=NOW - 3600)
    still_grid(plane).submit("math.sqrt", [1])
    assert len(_told(found)) == 1
    behind = replace(plane, clock=ManualClock(wall=clock.wall - 50))
    late = still_grid(behind).submit("math.sqrt", [1])
    assert _told(found) == [("submitted", late.id)]
    assert _told(found) == []


def test_begins_now_unless_told_otherwise(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    still_grid(plane).submit("math.sqrt", [1])
    finish(plane, _good)
    times = itertools.count(int(NOW) + 5)
    monkeypatch.setattr("time.time", lambda: float(next(times)))
    assert _told(_following(plane)) == []


@pytest.mark.parametrize(
    "options",
    [{"labels": {"desk": "fx"}}, {"tenant": "another"}, {"states": [SessionState.FAILED]}],
    ids=lambda options: next(iter(options)),
)
def test_only_what_is_wanted(plane: Plane, options: dict[str, Any]) -> None:
    found = _following(plane, since=NOW - 1, **options)
    still_grid(plane).submit("math.sqrt", [1], labels={"desk": "rates"})
    finish(plane, _good)
    assert _told(found) == []


def test_what_is_no_position(plane: Plane) -> None:
    for wrong in ("", "{}", "[]", '{"until": 1, "from": 1, "seen": [], "ended": "x"}'):
        with pytest.raises(InvalidInput, match="is not a position"):
            _following(plane, position=wrong)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90s", NOW - 90),
        ("1.5h", NOW - 5400),
        ("7d", NOW - 7 * 86400),
        ("1970-01-02T00:00", 86400.0),
        ("1970-01-02T00:00+01:00", 82800.0),
    ],
)
def test_times(text: str, at: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    assert _time_of(text) == at
