"""Concurrency limits of tags: the flow's process acquires a slot for each task run, since workers have no API."""

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

LEASE_SECONDS = 60.0  # as Prefect's engine; the slots of a process that is killed are free after so long
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
class SlotLease:
    """A call's lease on a slot of each of its limits.

    Attributes:
        renew_at: when the lease is to be renewed, on the monotonic clock.
    """

    call: Call
    lease_id: UUID
    renew_at: float


class ConcurrencySlots:
    """Acquires slots for calls of tasks with limited tags, and releases them when the calls have ended.

    Args:
        acquired: called with each call that has its slots.
    """

    def __init__(self, acquired: Callable[[Call], None]) -> None:
        self._acquired = acquired
        self._lock = threading.Lock()
        self._waiting: list[Call] = []
        self._leases: list[SlotLease] = []
        self._news = threading.Event()
        self._closed = False
        self._has_warned = False
        context = contextvars.copy_context()  # settings are in it
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="htcgrid-slots", daemon=True)
        self._thread.start()

    def acquire(self, call: Call) -> None:
        """Wait for slots for a call; returns at once."""
        with self._lock:
            self._waiting.append(call)
        self._news.set()

    def close(self) -> None:
        """Release all slots; whoever waits gets none any more."""
        self._closed = True
        self._news.set()
        self._thread.join()

    def _run(self) -> None:
        with get_client(sync_client=True) as client:
            while not self._closed:
                with self._lock:
                    is_idle = not (self._waiting or self._leases)
                self._news.wait(None if is_idle else ASK_EVERY_SECONDS)
                self._news.clear()
                self._release(client, [lease for lease in self._leases if lease.call.future.done()])
                self._renew(client)
                self._acquire_all(client)
            self._release(client, self._leases)

    def _acquire_all(self, client: SyncPrefectClient) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        full: set[tuple[str, ...]] = set()
        still_waiting = []
        for call in waiting:
            limits = call.remote_task.limits
            if call.future.done():  # cancelled meanwhile
                continue
            if self._closed or limits in full or not self._acquire(client, call):
                full.add(limits)
                still_waiting.append(call)
        with self._lock:
            self._waiting = still_waiting + self._waiting

    def _acquire(self, client: SyncPrefectClient, call: Call) -> bool:
        holder = ConcurrencyLeaseHolder(type="task_run", id=call.future.task_run_id)
        names = list(call.remote_task.limits)
        answer = self._asked(
            lambda: client.increment_concurrency_slots_with_lease(names, 1, "concurrency", LEASE_SECONDS, holder)
        )
        if answer is None:
            return False
        lease_id = UUID(answer.json()["lease_id"])
        self._leases.append(SlotLease(call, lease_id, time.monotonic() + RENEW_EVERY_SECONDS))
        call.future.add_done_callback(lambda _: self._news.set())
        self._acquired(call)
        return True

    def _renew(self, client: SyncPrefectClient) -> None:
        for lease in self._leases:
            if time.monotonic() >= lease.renew_at:
                lease_id = lease.lease_id
                if self._asked(lambda lease_id=lease_id: client.renew_concurrency_lease(lease_id, LEASE_SECONDS)):  # type: ignore[misc]
                    lease.renew_at = time.monotonic() + RENEW_EVERY_SECONDS

    def _release(self, client: SyncPrefectClient, ended: list[SlotLease]) -> None:
        for lease in ended:
            lease_id = lease.lease_id
            self._asked(lambda lease_id=lease_id: client.release_concurrency_slots_with_lease(lease_id))  # type: ignore[misc]
        self._leases = [lease for lease in self._leases if lease not in ended]

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
        if not self._has_warned:
            self._has_warned = True
            logger.warning("Prefect's API does not answer about concurrency slots: %r. It is asked again", problem)
        return None
