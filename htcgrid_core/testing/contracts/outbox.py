"""The contract of Outbox: rows that are compared and swapped as a whole, and a list of those that are not settled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.notification import Due, Notification, NotificationState
from htcgrid_core.ports.outbox import Outbox
from htcgrid_core.testing.contracts.facts import eventually, together
from htcgrid_core.testing.contracts.given import NOW, SESSION

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:ends"


def _row(session_id: str = SESSION, to: str = "ends", version: str = "v1", due_at: float = 0.0) -> Notification:
    return Notification(session_id, to, version, due_at=due_at, created_at=NOW, updated_at=NOW)


class OutboxContract:
    """Everything that telling relies on in an outbox. Override ``outbox``."""

    @pytest.fixture
    def outbox(self) -> Outbox:
        """An empty one."""
        raise NotImplementedError

    def test_a_row_comes_back_as_it_was_written(self, outbox: Outbox) -> None:
        """All of it."""
        row = replace(
            _row(), secret="t" * 2048, heartbeat_seconds=60.0, due_at=NOW + 0.25, attempts=2, event_id="e",
            event='{"data":"ü"}', detail="no answer",
        )  # fmt: skip
        assert outbox.get(SESSION, "ends") is None
        assert outbox.replace(None, row)
        assert outbox.get(SESSION, "ends") == row
        assert outbox.of(SESSION) == [row]
        assert outbox.of("s-contrac") == outbox.of(f"{SESSION}-2") == []

    def test_a_row_that_is_there_is_not_written_over(self, outbox: Outbox) -> None:
        """Neither by a first write nor by one that saw another."""
        assert outbox.replace(None, _row())
        assert not outbox.replace(None, _row(version="v2"))
        assert not outbox.replace(_row(version="v0"), _row(version="v2"))
        assert not outbox.replace(_row(to="others"), _row(to="others", version="v2"))
        assert outbox.of(SESSION) == [_row()]

    def test_a_write_that_is_repeated_is_recognised(self, outbox: Outbox) -> None:
        """Its reply was lost: its version is there already."""
        after = _row(version="v2", due_at=NOW)
        assert outbox.replace(None, _row())
        assert outbox.replace(None, _row())
        assert outbox.replace(_row(), after)
        assert outbox.replace(_row(), after)
        assert outbox.get(SESSION, "ends") == after

    def test_one_of_many_wins(self, outbox: Outbox) -> None:
        """Tellers that come at the same moment."""
        outbox.replace(None, _row())
        calls: list[Callable[[], bool]] = [
            (lambda number=number: outbox.replace(_row(), _row(version=f"w{number}")))  # type: ignore[misc]
            for number in range(8)
        ]
        answers = together(calls)
        assert sorted(map(bool, answers)) == [False] * 7 + [True]
        found = outbox.get(SESSION, "ends")
        assert found is not None
        assert found.version == f"w{answers.index(True)}"

    def test_what_is_not_settled_is_listed(self, outbox: Outbox) -> None:
        """By session, recipient and time; what is settled is not."""
        later, never = _row("s-other", due_at=NOW + 0.5), _row(to="nobody")
        for row in (_row(), later, never):
            outbox.replace(None, row)
        settled = replace(never, version="v2", state=NotificationState.REFUSED)
        assert outbox.replace(never, settled)
        abandoned = replace(_row(), version="v2", state=NotificationState.ABANDONED)
        assert outbox.replace(_row(), abandoned)
        wanted = [Due(SESSION, "ends", 0.0), Due("s-other", "ends", NOW + 0.5)]
        assert eventually(outbox.pending, lambda seen: seen == wanted) == wanted
        assert outbox.get(SESSION, "nobody") == settled

    def test_forgetting_leaves_what_is_still_to_be_told(self, outbox: Outbox) -> None:
        """Whose session is no more."""
        outbox.replace(None, _row())
        outbox.forget([SESSION, "s-unknown"])
        assert outbox.of(SESSION) == [_row()]

    def test_destinations_by_name(self, outbox: Outbox) -> None:
        """Registered, replaced, removed."""
        ends = Destination(name="ends", target=QUEUE)
        hook = Destination(name="0-hook", target="https://example.com/x", secret="whsec_" + "A" * 32)
        assert outbox.destinations() == []
        assert outbox.destination("ends") is None
        outbox.put_destination(ends)
        outbox.put_destination(hook)
        assert outbox.destinations() == [hook, ends]
        disabled = ends.model_copy(update={"disabled": "410"})
        outbox.put_destination(disabled)
        assert outbox.destination("ends") == disabled
        assert outbox.destination("no name") is None
        assert outbox.remove_destination("ends")
        assert not outbox.remove_destination("ends")
        assert outbox.destinations() == [hook]
