"""The messenger of a process: AWS's services and webhooks, each loaded when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.extras import what_is_missing
from htcgrid_core.ports.messenger import Answer, Heard, Messenger


class WorldMessenger:
    """See ``ports.messenger.Messenger``.

    Args:
        make_aws: what tells AWS's services; called when the first is to be told.
    """

    def __init__(self, make_aws: Callable[[], Messenger]) -> None:
        self._make_aws = make_aws

    @cached_property
    def _aws(self) -> Messenger:
        return self._make_aws()

    def beat(self, token: str) -> Answer:
        """Say to a task of Step Functions that its session goes on."""
        return _if_installed(lambda: [self._aws.beat(token)], 1)[0]

    def end_task(self, token: str, data: dict[str, Any]) -> Answer:
        """End a task of Step Functions."""
        return _if_installed(lambda: [self._aws.end_task(token, data)], 1)[0]

    def send(self, destination: Destination, events: Sequence[dict[str, Any]], now: float) -> list[Answer]:
        """Send CloudEvents."""
        if destination.kind == "webhook":
            from htcgrid_core.adapters.webhooks import send

            return [send(destination, event, now) for event in events]
        return _if_installed(lambda: self._aws.send(destination, events, now), len(events))


def _if_installed(call: Callable[[], list[Answer]], count: int) -> list[Answer]:
    try:
        return call()
    except ImportError as error:
        return [Answer(Heard.LATER, f"{what_is_missing(error) or error}, where agents run")] * count
