"""Ends of sessions: each is in a page after the cursor of its time, whatever clocks say."""

from __future__ import annotations

from htcgrid_core.domain import limits
from htcgrid_core.domain.ended import End
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.ports.session_store import SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import eventually
from htcgrid_core.testing.contracts.given import FULL_PAGE, NOW

LATER = 3600.0  # between two looks: as a round is due by then, as far back as clocks may be wrong


class Listener:
    """Somebody who looks at a store now and then, by a clock that may be wrong."""

    def __init__(self, store: SessionStore, since: float = NOW, limit: int = FULL_PAGE) -> None:
        self.store, self.limit, self.now = store, limit, NOW
        self.after: str | float = since
        self.heard: list[End] = []
        self.look()
        self.heard.clear()

    def look(self) -> list[str]:
        """All pages there are; the ids heard of so far."""
        more = True
        while more:
            page = self.store.ended(self.after, self.now, self.limit)
            assert len(page.ends) <= self.limit
            self.heard += page.ends
            self.after, more = page.cursor, page.more
        return sorted({end.session_id for end in self.heard})

    def hears(self, *session_ids: str, after: float = LATER) -> None:
        """These, no sooner than ``after`` seconds later."""
        self.now += after
        assert eventually(self.look, lambda seen: set(session_ids) <= set(seen)) == sorted(session_ids)


def _end(store: SessionStore, session_id: str, at: float = NOW, retention_seconds: float = 1e6) -> None:
    given.running(store, session_id=session_id, retention_seconds=retention_seconds)
    store.advance(session_id, SessionEvent.FAIL, now=at, actor="tester", reason="because")


class EndsContract:
    """ended, by which watchers hear of each session that ends."""

    def test_what_ends_is_heard_of(self, store: SessionStore) -> None:
        """With the time of its end, and not before it."""
        listener = Listener(store)
        given.running(store, session_id="s-live")
        _end(store, "s-done", at=NOW + 5)
        listener.hears("s-done")
        assert set(listener.heard) == {End("s-done", NOW + 5)}

    def test_however_long_it_ran(self, store: SessionStore) -> None:
        """What others did meanwhile does not matter."""
        given.running(store, session_id="s-long")
        listener = Listener(store)
        for number in range(3):
            _end(store, f"s-{number:04d}", at=NOW + number)
        listener.hears("s-0000", "s-0001", "s-0002")
        store.advance("s-long", SessionEvent.FAIL, now=NOW + 2 * LATER, actor="tester", reason="because")
        listener.hears("s-0000", "s-0001", "s-0002", "s-long", after=2 * LATER)

    def test_in_the_same_instant(self, store: SessionStore) -> None:
        """Also where a page ends among them."""
        ids = [f"s-{number:04d}" for number in range(7)]
        listener = Listener(store, limit=2)
        for session_id in ids:
            _end(store, session_id)
        listener.hears(*ids)

    def test_whoever_ends_it_has_a_wrong_clock(self, store: SessionStore) -> None:
        """By as much as a grid stands, each way: ends are written in another order than that of their times."""
        listener = Listener(store)
        wrong = limits.WRONG_CLOCK_SECONDS
        for name, at in (("ahead", wrong), ("right", 0.0), ("behind", -wrong)):
            _end(store, f"s-{name}", at=listener.now + at)
            listener.look()
        listener.hears("s-ahead", "s-behind", "s-right")

    def test_whoever_looks_has_a_wrong_clock(self, store: SessionStore) -> None:
        """Ahead at one look, and set back at the next."""
        listener = Listener(store)
        listener.now += limits.WRONG_CLOCK_SECONDS
        listener.look()
        _end(store, "s-first", at=NOW - limits.WRONG_CLOCK_SECONDS)
        listener.hears("s-first", after=LATER)
        _end(store, "s-second", at=NOW + 1)
        listener.hears("s-first", "s-second", after=-LATER)

    def test_from_a_time_on(self, store: SessionStore) -> None:
        """At least what ended after it."""
        _end(store, "s-old", at=NOW - 10_000)
        _end(store, "s-new", at=NOW - 1_000)
        seen: set[str] = set()

        def look() -> set[str]:
            page = store.ended(NOW - 5_000, NOW, FULL_PAGE)
            seen.update(end.session_id for end in page.ends)
            return seen

        assert eventually(look, lambda found: "s-new" in found) == {"s-new"}

    def test_those_before_were_deleted(self, store: SessionStore) -> None:
        """A cursor is not behind what comes next, although nothing that it came from is left."""
        listener = Listener(store)
        for session_id in ("s-first", "s-second"):
            _end(store, session_id, retention_seconds=1.0)
        listener.hears("s-first", "s-second", after=1.0)
        eventually(
            lambda: store.expire(NOW + 10, FULL_PAGE), lambda _: not store.progress(["s-first", "s-second"], NOW)
        )
        _end(store, "s-third", at=NOW + 20)
        listener.hears("s-first", "s-second", "s-third", after=30.0)

    def test_a_round_holds_all_that_may_come_again(self, store: SessionStore) -> None:
        """Who remembers what was in this round and the one before is told nothing twice."""
        listener = Listener(store)
        before: set[End] = set()
        this: set[End] = set()
        told: list[End] = []
        for number in range(40):
            listener.now = NOW + 47.0 * number
            _end(store, f"s-{number:04d}", at=listener.now)
            more = True
            while more:
                page = store.ended(listener.after, listener.now, 3)
                told += [end for end in page.ends if end not in before and end not in this]
                this.update(page.ends)
                listener.after, more = page.cursor, page.more
                if page.round_over:
                    before, this = this, set()
        assert len(told) == len(set(told))
