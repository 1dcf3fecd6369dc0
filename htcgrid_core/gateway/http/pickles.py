"""Pickled results of a server: whoever has not said that he trusts it gets none, since loading one runs code."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import SessionRecord


class Pickles:
    """What passes of a session's tasks.

    Args:
        server: its URL, for messages.
        are_allowed: whether the user trusts it.
    """

    def __init__(self, server: str, *, are_allowed: bool) -> None:
        self._server = server
        self.are_allowed = are_allowed

    def check(self, record: SessionRecord) -> None:
        """Whether a session's values may be loaded.

        Raises:
            InvalidInput: they are pickled, and the user has not allowed it.
        """
        if not self._pass(record):
            raise self._refused(record.session_id)

    def outcomes(self, record: SessionRecord, found: Iterable[Outcome]) -> Iterable[Outcome]:
        """Outcomes, of a pickled session without allowance only failures, as texts."""
        return found if self._pass(record) else [self._text(record, outcome) for outcome in found]

    def page(self, record: SessionRecord, found: TaskPage | TaskOutcome) -> TaskPage | TaskOutcome:
        """Likewise a page."""
        if isinstance(found, TaskOutcome):
            return found
        return replace(found, outcomes=self.outcomes(record, found.outcomes))

    def ordered(
        self, record: SessionRecord, found: Iterator[tuple[int, Outcome | None]]
    ) -> Iterator[tuple[int, Outcome | None]]:
        """Likewise outcomes in order."""
        if self._pass(record):
            return found
        return ((index, outcome and self._text(record, outcome)) for index, outcome in found)

    def _pass(self, record: SessionRecord) -> bool:
        return self.are_allowed or record.codec == "json"  # if nobody knows, it is not loaded

    def _text(self, record: SessionRecord, outcome: Outcome) -> Outcome:
        if not outcome.failed:
            raise self._refused(record.session_id)
        told = {}
        with suppress(ValueError):
            told = json.loads(bytes(outcome.payload))
        if isinstance(told, dict):
            told.pop("exception", None)
        return replace(outcome, payload=json.dumps(told).encode())

    def _refused(self, session_id: str) -> InvalidInput:
        return InvalidInput(
            f"session {session_id} has pickled values, and whoever loads them lets {self._server} run anything here: "
            "connect(url, allow_pickle=True) if you trust that server as your own code"
        )
