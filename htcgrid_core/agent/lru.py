"""A mapping that keeps its most recently used entries, so that an agent may live for months."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """At most ``limit`` entries; the one that was not used for the longest time goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The entry, now the most recent one; None if it is not there any more."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: K, value: V) -> V:
        """Keep an entry; returns it."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)
        return value


class SharedLruCache(LruCache[K, V]):
    """The same, for many threads."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The entry, now the most recent one; None if it is not there any more."""
        with self._lock:
            entries = self._entries
            if key not in entries:
                return None
            entries.move_to_end(key)
            return entries[key]

    def put(self, key: K, value: V) -> V:
        """Keep an entry; returns it."""
        with self._lock:
            return super().put(key, value)
