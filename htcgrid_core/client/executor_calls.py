"""The calls of an executor: what is kept of one until it is done, and which may share a session."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from types import BuiltinMethodType, MethodType, MethodWrapperType
from typing import Any

from htcgrid_core.client.session import Session
from htcgrid_core.client.waiting import new_patience
from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.domain.patience import Patience

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Call:
    """One ``submit``.

    Attributes:
        future: None once it is done: it is its user's alone then, and so is what it holds.
        batch: that it was sent in, while it is not done.
    """

    future: Future[Any] | None
    batch: Batch | None = None

    @property
    def is_done(self) -> bool:
        """Whether it has ended or was cancelled."""
        return self.future is None

    def settle(self, result: Any, error: BaseException | None = None) -> None:
        """Tell the future what came of it, unless it knows."""
        future = self.future
        if future is None:
            return
        try:
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        except InvalidStateError:
            pass  # cancelled meanwhile
        except BaseException:  # noqa: BLE001 - its user's callbacks; the future itself lets an Exception pass
            _log.exception("a callback of a future raised")

    def cancel(self) -> None:
        """As its user may."""
        future = self.future
        if future is not None:
            future.cancel()


@dataclass(slots=True, eq=False)
class Request:
    """A call that is to be sent, with its arguments as they were when it was made."""

    function: Callable[..., Any]
    event: EncodedEvent
    call: Call


@dataclass(slots=True, eq=False)
class Batch:
    """The calls that share a session; ``left`` have not ended, ``cursor`` is where their pages were read to."""

    session: Session
    calls: list[Call]
    left: int = 0
    cursor: int = 0
    patience: Patience = field(default_factory=new_patience)

    def fail(self, error: BaseException) -> None:
        """None of those that are not done will be."""
        for call in self.calls:
            call.settle(None, error)


def by_identity(requests: list[Request]) -> list[list[Request]]:
    """Those that may share a session together, but for those that were cancelled."""
    groups: dict[Hashable, list[Request]] = {}
    for request in requests:
        if not request.call.is_done:
            groups.setdefault(_identity(request.function), []).append(request)
    return list(groups.values())


def _identity(function: Any) -> Hashable:
    """Equal for calls that may share a session: those of one object, or of one method of one object.

    The object itself is not asked: equal ones may do different things, and asking may raise anything.
    """
    kind = type(function)
    if kind is MethodType:  # made anew at each look
        return id(function.__self__), id(function.__func__)
    if kind in (BuiltinMethodType, MethodWrapperType):
        return id(function.__self__), function.__name__
    return id(function)
