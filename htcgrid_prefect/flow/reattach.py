"""Calls of a flow run that was killed and starts again are reattached to their tasks, which are on the grid already."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from prefect.logging import get_logger

from htcgrid_core import GridError, Session
from htcgrid_prefect.flow.earlier_calls import EarlierCalls
from htcgrid_prefect.flow.futures import HTCGridFuture
from htcgrid_prefect.flow.in_flight import InFlightSession
from htcgrid_prefect.flow.remote_task import RemoteTask

logger = get_logger("htcgrid")


class Reattachment:
    """Gives calls the tasks that an earlier process has submitted for them."""

    def __init__(self, earlier: EarlierCalls) -> None:
        self._earlier = earlier

    def reattach(
        self, remote_task: RemoteTask, events: Iterable[Any], futures: Sequence[HTCGridFuture[Any]]
    ) -> tuple[list[InFlightSession], list[Any], list[HTCGridFuture[Any]]]:
        """The sessions that some of these calls are in, and the events and futures of the others."""
        found: dict[Session, dict[int, HTCGridFuture[Any]]] = {}
        others: list[tuple[Any, HTCGridFuture[Any]]] = []
        for event, future in zip(events, futures, strict=True):
            earlier = self._earlier.take(remote_task.task.name, event)
            if earlier is None:
                others.append((event, future))
            else:
                future.group.keep_run_id(future.index, earlier.run_id)
                found.setdefault(earlier.session, {})[earlier.index] = future
        for session, by_index in found.items():
            logger.log(
                logging.INFO, "Reattached %s calls to their tasks in session %s, of an earlier process of this run",
                f"{len(by_index):,}", session.id,
            )  # fmt: skip
        reattached = [InFlightSession(session, by_index, is_reattached=True) for session, by_index in found.items()]
        return reattached, [event for event, _ in others], [future for _, future in others]

    def close(self, reason: str) -> None:
        """Cancel what is left of the sessions: nobody asks for it any more."""
        for session in self._earlier.sessions:
            try:
                if not session.done():
                    session.cancel(reason)
            except GridError as error:
                logger.error("Session %s could not be cancelled: %s", session.id, error)
