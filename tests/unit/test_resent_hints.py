"""Stale messages must not breed."""

from __future__ import annotations

from htcgrid_core.agent.loop.resent_hints import ResentHints
from htcgrid_core.ports.bundle_queue import Hint
from tests.planes import ManualClock


def test_a_hint_is_news_once_a_while() -> None:
    clock = ManualClock()
    resent, hints = ResentHints(clock, 30.0), [Hint("s-1234", "a"), Hint("s-1234", "b")]
    assert resent.not_recent(hints[:1]) == hints[:1]
    assert resent.not_recent(hints) == hints[1:]
    clock.pass_(29.0)
    assert resent.not_recent(hints) == []
    clock.pass_(1.0)
    assert resent.not_recent(hints) == hints
