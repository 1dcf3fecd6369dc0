"""Concurrency limits of tags: the flow's process takes a slot for each task run, since workers have no API."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger

from htcgrid_prefect.flow.calls import Call

LEASE_SECONDS = 60.0  # as Prefect's engine; a process that is killed gives its slots back after so long
RENEW_EVERY_SECONDS = LEASE_SECONDS / 3
ASK_EVERY_SECONDS = 0.5
LOCKED = 423
logger = get_logger("htcgrid")


def limits_of(tags: Iterable[str]) -> tuple[str, ...]:
    """Names of the concurrency limits that these tags have now; asks the API about each."""
    found = []
    with get_client(sync_client=True) as client:
        for tag in sorted(tags):
            with contextlib.suppress(ObjectNotFound):
                found.append(client.read_global_concurrency_limit_by_name(f"tag:{tag}").name)
    return tuple(found)


@dataclass(slots=True, eq=False)
class Held:
    """A slot of each limit of a call.

    Attributes:
        renew_at: when the lease is to be renewed, on the monotonic clock.
    """

    call: Call
    lease_id: UUID
    renew_at: float


class SlotKeeper:
    """Lets calls of tasks with limited tags go when a slot is free, and gives it back when they have ended.

    Args:
        release: lets a call go.
    """

    def __init__(self, release: Callable[[Call], None]) -> None:
        self._release = release
        self._lock = threading.Lock()
        self._waiting: list[Call] = []
        self._held: list[Held] = []
        self._news = threading.Event()
        self._closed = False
        self._is_told = False
        context = contextvars.copy_context()  # settings are in it
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="htcgrid-slots", daemon=True)
        self._thread.start()

    def hold(self, call: Call) -> None:
        """Keep a call until there is a slot for it."""
        with self._lock:
            self._waiting.append(call)
        self._news.set()

    def close(self) -> None:
        """Give back what is held; whoever waits is not let go any more."""
        self._closed = True
        self._news.set()
        self._thread.join()

    def _run(self) -> None:
        with get_client(sync_client=True) as client:
            while not self._closed:
                with self._lock:
                    is_idle = not (self._waiting or self._held)
                self._news.wait(None if is_idle else ASK_EVERY_SECONDS)
                self._news.clear()
                self._give_back(client, [held for held in self._held if held.call.future.done()])
                self._renew(client)
                self._take(client)
            self._give_back(client, self._held)

    def _take(self, client: SyncPrefectClient) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        full: set[tuple[str, ...]] = set()
        left = []
        for call in waiting:
            limits = call.shipment.limits
            if call.future.done():  # cancelled meanwhile
                continue
            if self._closed or limits in full or not self._taken(client, call):
                full.add(limits)
                left.append(call)
        with self._lock:
            self._waiting = left + self._waiting

    def _taken(self, client: SyncPrefectClient, call: Call) -> bool:
        holder = ConcurrencyLeaseHolder(type="task_run", id=call.future.task_run_id)
        names = list(call.shipment.limits)
        answer = self._asked(
            lambda: client.increment_concurrency_slots_with_lease(names, 1, "concurrency", LEASE_SECONDS, holder)
        )
        if answer is None:
            return False
        held = Held(call, UUID(answer.json()["lease_id"]), time.monotonic() + RENEW_EVERY_SECONDS)
        self._held.append(held)
        call.future.add_done_callback(lambda _: self._news.set())
        self._release(call)
        return True

    def _renew(self, client: SyncPrefectClient) -> None:
        for held in self._held:
            if time.monotonic() >= held.renew_at:
                lease_id = held.lease_id
                if self._asked(lambda lease_id=lease_id: client.renew_concurrency_lease(lease_id, LEASE_SECONDS)):  # type: ignore[misc]
                    held.renew_at = time.monotonic() + RENEW_EVERY_SECONDS

    def _give_back(self, client: SyncPrefectClient, ended: list[Held]) -> None:
        for held in ended:
            lease_id = held.lease_id
            self._asked(lambda lease_id=lease_id: client.release_concurrency_slots_with_lease(lease_id))  # type: ignore[misc]
        self._held = [held for held in self._held if held not in ended]

    def _asked(self, request: Callable[[], httpx.Response]) -> Any:
        """The answer; None if there is no slot, or no API now."""
        try:
            return request()
        except httpx.HTTPStatusError as error:
            if error.response.status_code == LOCKED:
                return None
            problem: Exception = error
        except httpx.TransportError as error:
            problem = error
        if not self._is_told:
            self._is_told = True
            logger.warning("Prefect's API does not answer about concurrency slots: %r. It is asked again", problem)
        return None
