"""All the workers of an agent: each function's by its runtime, on the same slots."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from htcgrid_core.agent.cores import available_cores
from htcgrid_core.agent.lru import LruCache
from htcgrid_core.agent.variables import NATIVE_VARIABLE
from htcgrid_core.agent.workers.launch import launcher
from htcgrid_core.agent.workers.native.pool import NativeWorkers
from htcgrid_core.agent.workers.unpacked_packages import task_folder
from htcgrid_core.domain import limits
from htcgrid_core.domain.function import Environment, Package, SidecarPort
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.doorbell import Bell
from htcgrid_core.ports.metrics import NO_METRICS, Metrics
from htcgrid_core.ports.worker import Chunk, FunctionRef, WorkerEvent

if TYPE_CHECKING:
    from htcgrid_core.agent.workers.runtime_api.sidecars import Sidecars
    from htcgrid_core.agent.workers.runtime_api.workers import RuntimeApiWorkers

    Pool = NativeWorkers | RuntimeApiWorkers | Sidecars

FUNCTIONS_PREPARED = 1000
LOOK_SECONDS = 1.0  # between looks at what workers of the Runtime API print, and whether they start


class Workers:
    """A WorkerPool of native Python workers and of workers that speak the Lambda Runtime API.

    Args:
        slots: how many tasks run at once.
        bell: ends a wait.
        cache: folder for unpacked packages; agents of one machine may share it.
        cache_bytes: of all that is in it.
        count: told of the workers that are started.
        sidecars: ports of the Runtime API for clients that nobody here starts.
        users: who may be such a client, by uid; None for whoever shares this machine, or this pod.
        cores: of this machine that are for these slots; None for all that this process may use.

    Raises:
        GridUnavailable: such a port cannot be served.
    """

    def __init__(
        self,
        slots: int,
        bell: Bell | None,
        cache: Path,
        cache_bytes: int = limits.CACHE_BYTES,
        count: Metrics = NO_METRICS,
        sidecars: Sequence[SidecarPort] = (),
        users: frozenset[int] | None = None,
        cores: int | None = None,
    ) -> None:
        self.slots = slots
        self._threads_each = max(1, (cores or available_cores()) // slots)
        self._count = count
        self._cache = cache
        self._cache_bytes = cache_bytes
        self._native = NativeWorkers(slots, bell, count, self._threads_each)
        self._others: RuntimeApiWorkers | None = None
        self._sidecars = self._served(sidecars, users) if sidecars else None
        self._pool_of: list[Pool] = [self._native] * (2 * slots)  # as many may be lent
        self._prepared: LruCache[str, FunctionRef] = LruCache(FUNCTIONS_PREPARED)

    def run(self, slot: int, chunk: Chunk) -> None:
        """Queue a chunk on a slot, whose worker of the other kind, if any, runs nothing and ends."""
        package = chunk.function.spec.function.package
        pool: Pool = self._native
        if package is not None and self._sidecars is not None and self._sidecars.serves(package):
            pool = self._sidecars
        elif package is not None:
            chunk = replace(chunk, function=self._ready(chunk.function))
            if not _is_native(package):
                pool = self._runtime_api()
        if pool is not self._pool_of[slot]:
            self._pool_of[slot].discard(slot)
            self._pool_of[slot] = pool
        pool.run(slot, chunk)

    def wait(self, timeout_seconds: float) -> list[WorkerEvent]:
        """What happened; waits for the first event, a ring of the agent's bell, or the timeout."""
        others = [pool for pool in (self._others, self._sidecars) if pool is not None and pool.busy]
        if not others:
            return self._native.wait(timeout_seconds)
        events = [event for pool in others for event in pool.wait(0.0)]
        events += self._native.wait(0.0 if events else min(timeout_seconds, LOOK_SECONDS))
        return events + [event for pool in others for event in pool.wait(0.0)]

    def running(self, slot: int) -> tuple[int, int, float] | None:
        """(serial, position, monotonic start) of the task a slot runs now; None between tasks."""
        return self._pool_of[slot].running(slot)

    def printed(self, slot: int) -> tuple[str, str]:
        """The last of what the task that a slot runs now has printed, where that is at hand."""
        return self._pool_of[slot].printed(slot)

    def resident_bytes(self, slot: int) -> int | None:
        """The memory that the slot's worker and its children have now; None where nobody says."""
        return self._pool_of[slot].resident_bytes(slot)

    def process_id(self, slot: int) -> int | None:
        """Of the slot's worker, if it is one that this process has started."""
        return self._pool_of[slot].process_id(slot)

    def revoke(self, slot: int) -> list[tuple[int, int]]:
        """Take back what the slot has not begun."""
        return self._pool_of[slot].revoke(slot)

    def kill(self, slot: int, error: TaskError) -> None:
        """Kill the slot's worker and all its children; a WorkerLost with this error follows."""
        self._pool_of[slot].kill(slot, error)

    def refuse(self, slot: int, serial: int, position: int) -> None:
        """Tell a task that waits that no worker can be lent; only native ones say that they wait."""
        self._native.refuse(slot, serial, position)

    def discard(self, slot: int) -> None:
        """End the slot's worker, which runs nothing, without an event."""
        self._pool_of[slot].discard(slot)

    def missing(self) -> str:
        """Which functions' sidecars are not there, for people; empty if each has one."""
        return "" if self._sidecars is None else self._sidecars.missing()

    def close(self) -> None:
        """Kill every worker."""
        self._native.close()
        for pool in (self._others, self._sidecars):
            if pool is not None:
                pool.close()

    def _served(self, ports: Sequence[SidecarPort], users: frozenset[int] | None) -> Sidecars:
        """The sidecars' pool, which clients find from now on."""
        from htcgrid_core.agent.workers.runtime_api.sidecars import Sidecars

        sidecars = Sidecars(ports, users, self._count)
        self._native.watch(sidecars.fileno())
        return sidecars

    def _runtime_api(self) -> RuntimeApiWorkers:
        """The others' pool; most agents never need it, nor its HTTP."""
        if self._others is None:
            from htcgrid_core.agent.workers.runtime_api.workers import RuntimeApiWorkers

            self._others = RuntimeApiWorkers(self.slots, self._count, threads_each=self._threads_each)
            self._native.watch(self._others.fileno())
        return self._others

    def _ready(self, function: FunctionRef) -> FunctionRef:
        """A deployed function as its workers are started: from its unpacked package."""
        ready = self._prepared.get(function.session_id)
        if ready is None:
            asked = function.spec.function
            assert asked.package is not None
            digest = (asked.blob or "").rpartition("/")[2]
            folder = str(task_folder(self._cache, digest))
            environment = Environment(python=sys.executable, path=(folder,), cwd=folder)
            name = asked.package.handler.replace("/", ".") if _is_native(asked.package) else asked.name
            named = asked.model_copy(update={"name": name, "environment": environment})
            spec, package = function.spec, function.callable_path
            command = launcher(self._cache, digest, package, self._cache_bytes, spec.memory_mb, spec.tenant)
            ready = replace(
                function,
                spec=function.spec.model_copy(update={"function": named}),
                callable_path="",
                launcher=command,
            )
            self._prepared.put(function.session_id, ready)
        return ready


def _is_native(package: Package) -> bool:
    own = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return package.runtime == own and not package.runtime_client and os.environ.get(NATIVE_VARIABLE) != "0"
