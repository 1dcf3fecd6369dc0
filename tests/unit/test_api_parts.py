"""Pages of tasks in parts, and answers in pages: whatever the sizes, nothing is lost, doubled or too large."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core.api.parts import Cursor, parts
from htcgrid_core.api.streams import _page
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.codecs.wire import PAGE, PART, Tasks, framed_page, size_of, unframed
from htcgrid_core.domain.errors import ResultTooLarge

PAGES = st.lists(st.lists(st.integers(0, 900), max_size=12), max_size=6)  # bytes of each outcome


def _pages(sizes: list[list[int]]) -> list[TaskPage]:
    """With cursors that grow, not one by one."""
    found, index = [], 0
    for number, page in enumerate(sizes):
        rows = []
        for size in page:
            rows.append(Outcome(index, False, 1, 1.0, 1.0, b"x" * size, "", ""))
            index += 1
        found.append(TaskPage(3 * number + 1, "agent", rows))
    return found


@given(PAGES, st.integers(100, 4000), st.data())
def test_from_any_cursor_on_it_is_the_rest(sizes: list[list[int]], most: int, data: st.DataObject) -> None:
    pages = _pages(sizes)
    found = list(parts(pages, Cursor(0), most))
    for part in found:
        rows = list(part.page.outcomes)
        assert len(rows) <= 1 or sum(map(size_of, rows)) <= most
    stop = data.draw(st.integers(0, len(found)))
    begin = Cursor.read(str(found[stop - 1].behind)) if stop else Cursor(0)
    rest = parts([page for page in pages if page.cursor > begin.page], begin, most)
    assert list(rest) == found[stop:]


@given(PAGES, st.integers(100, 4000))
def test_a_client_has_the_pages_as_they_were(sizes: list[list[int]], most: int) -> None:
    pages, read = _pages(sizes), Tasks()
    sent = b"".join(framed_page(part.page, PAGE if part.is_last else PART) for part in parts(pages, Cursor(0), most))
    back = [page for frame in unframed(sent) for page in read.of(frame)]
    assert [(page.cursor, list(page.outcomes)) for page in back if isinstance(page, TaskPage)] == [
        (page.cursor, page.outcomes) for page in pages
    ]


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 5)), max_size=20), st.integers(1, 200))
def test_answers_end_between_cursors(pieces: list[tuple[bytes, int]], most: int) -> None:
    """And go on there; what one answer cannot hold is refused, once all before it has come."""
    ordered = sorted(pieces, key=lambda piece: piece[1])
    groups: dict[int, bytes] = {}
    for data, at in ordered:
        groups[at] = groups.get(at, b"") + data
    too_large = next((at for at, data in groups.items() if len(data) > most), None)

    def after(cursor: object) -> Iterator[tuple[bytes, object]]:
        return iter([piece for piece in ordered if not isinstance(cursor, int) or piece[1] > cursor])

    whole = b""
    cursor: object = None
    while True:
        try:
            body, cursor = _page(after(cursor), most)
        except ResultTooLarge:
            assert whole == b"".join(data for at, data in groups.items() if too_large is not None and at < too_large)
            return
        assert len(body) <= most
        whole += body
        if cursor is None:
            break
    assert too_large is None
    assert whole == b"".join(data for data, _ in ordered)


def test_a_slow_answer_ends_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it has nothing yet: whoever filters for what is rare goes on from there."""
    monkeypatch.setattr("htcgrid_core.api.streams.PAGE_SECONDS", -1.0)
    assert _page(iter([(b"", 1), (b"a", 2), (b"b", 3)]), 100) == (b"", 1)
