"""What ``htcgrid top`` reads while keys are pressed."""

from __future__ import annotations

import queue

import pytest

from htcgrid_core.cli.top_reader import Reader
from htcgrid_core.domain.errors import AccessDenied, GridUnavailable
from tests.e2e.support import eventually


def test_a_grid_that_is_away_is_said_and_holds_nobody_up() -> None:
    looks: queue.SimpleQueue[int | Exception] = queue.SimpleQueue()

    def look() -> int:
        found = looks.get()  # as long as the grid takes
        if isinstance(found, Exception):
            raise found
        return found

    looks.put(1)
    reader = Reader(look, 0.0)
    assert (reader.latest(), reader.trouble) == (1, ""), "while the next look goes on"
    looks.put(GridUnavailable("it is away"))
    eventually(lambda: "it is away" in reader.trouble, "it is said")
    assert reader.latest() == 1, "what was seen last stays"
    looks.put(2)
    eventually(lambda: (reader.latest(), reader.trouble) == (2, ""), "it is read again")
    looks.put(AccessDenied("the key has gone"))

    def has_failed() -> bool:
        try:
            reader.latest()
        except AccessDenied:
            return True
        return False

    eventually(has_failed, "it ends")
    with pytest.raises(AccessDenied, match="the key has gone"):
        reader.latest()
