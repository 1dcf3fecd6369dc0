"""What a worker keeps of earlier sessions, functions and shared inputs: so much that it harms no later one."""

from __future__ import annotations

import os
import resource
import sys
from typing import Generic, TypeVar

from htcgrid_core.agent.lru import LruCache

V = TypeVar("V")

FUNCTIONS = 256
FUNCTIONS_BYTES = 64 << 20
SHARED_INPUTS = 256
SHARED_INPUTS_BYTES = 512 << 20
# Of a worker's memory_mb, which is for its tasks.
FUNCTIONS_PART = 16
SHARED_INPUTS_PART = 4
LOADED_BYTES = 3  # that a stored byte may take while it is loaded: the file, the pickle in it, and the value


class Kept(LruCache[str, V], Generic[V]):
    """At most ``limit`` entries and, but for the last one, ``limit_bytes`` of what they were loaded from."""

    def __init__(self, limit: int, limit_bytes: int) -> None:
        super().__init__(limit)
        self._limit_bytes = limit_bytes
        self._sizes: dict[str, int] = {}

    def put(self, key: str, value: V, size: int = 0) -> V:
        """Keep an entry; returns it."""
        super().put(key, value)
        self._sizes[key] = size
        self._sizes = {known: self._sizes[known] for known in self._entries}
        while len(self._entries) > 1 and sum(self._sizes.values()) > self._limit_bytes:
            del self._sizes[self._entries.popitem(last=False)[0]]
        return value

    def clear(self) -> None:
        """Keep nothing."""
        self._entries.clear()
        self._sizes.clear()

    def __len__(self) -> int:
        return len(self._entries)


def functions(memory_mb: int) -> Kept[object]:
    """Room for the functions of a worker with this ``memory_mb``; 0 for no limit."""
    return Kept(FUNCTIONS, _part(FUNCTIONS_BYTES, memory_mb, FUNCTIONS_PART))


def shared_inputs(memory_mb: int) -> Kept[object]:
    """Room for its shared inputs."""
    return Kept(SHARED_INPUTS, _part(SHARED_INPUTS_BYTES, memory_mb, SHARED_INPUTS_PART))


def _part(limit_bytes: int, memory_mb: int, part: int) -> int:
    return min(limit_bytes, (memory_mb << 20) // part) if memory_mb else limit_bytes


def has_room_for(stored_bytes: int) -> bool:
    """Whether what is stored in so many bytes can be loaded within this process's limit of memory, as it seems."""
    if sys.platform != "linux":
        return True
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return True
    with open("/proc/self/statm", "rb") as file:
        data_pages = int(file.read().split()[5])
    return data_pages * os.sysconf("SC_PAGE_SIZE") + LOADED_BYTES * stored_bytes <= limit
