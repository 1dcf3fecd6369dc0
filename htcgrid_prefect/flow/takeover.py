"""Calls of a flow run that starts again, given to the tasks that are on the grid already."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from prefect.logging import get_logger

from htcgrid_core import GridError, Session
from htcgrid_prefect.flow.futures import HTCGridFuture
from htcgrid_prefect.flow.in_flight import InFlightSession
from htcgrid_prefect.flow.reattach import Leftovers
from htcgrid_prefect.shared.shipping import Shipment

logger = get_logger("htcgrid")


class Takeover:
    """Hands out what was left."""

    def __init__(self, left: Leftovers) -> None:
        self._left = left

    def of(
        self, shipment: Shipment, events: Iterable[Any], futures: Sequence[HTCGridFuture[Any]]
    ) -> tuple[list[InFlightSession], list[Any], list[HTCGridFuture[Any]]]:
        """The sessions that some of these calls are in, and the events and futures of the others."""
        found: dict[Session, dict[int, HTCGridFuture[Any]]] = {}
        others: list[tuple[Any, HTCGridFuture[Any]]] = []
        for event, future in zip(events, futures, strict=True):
            left = self._left.take(shipment.task.name, event)
            if left is None:
                others.append((event, future))
            else:
                future.group.adopt(future.index, left.run_id)
                found.setdefault(left.session, {})[left.index] = future
        for session, by_index in found.items():
            logger.log(
                logging.INFO, "Session %s of an earlier process of this run is taken up: %s of its tasks are asked for",
                session.id, f"{len(by_index):,}",
            )  # fmt: skip
        flights = [InFlightSession(session, by_index, is_taken_up=True) for session, by_index in found.items()]
        return flights, [event for event, _ in others], [future for _, future in others]

    def close(self, reason: str) -> None:
        """Cancel what is left of the sessions: nobody asks for it any more."""
        for session in self._left.sessions:
            try:
                if not session.done():
                    session.cancel(reason)
            except GridError as error:
                logger.error("Session %s could not be cancelled: %s", session.id, error)
