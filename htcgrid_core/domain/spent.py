"""What a session took: facts, counted where its work is written, of which prices make dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import orjson


@dataclass(frozen=True, slots=True)
class Usage:
    """What is counted in a session's row beside its tasks.

    Attributes:
        commits: bundles that were committed, with whatever outcomes.
        input_bytes: of its events, packed.
        output_bytes: of what its tasks came to, packed.
        output_blobs: commits whose outcomes are in the blob store.
    """

    commits: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    output_blobs: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """A session's facts, as they are kept with its end for longer than the session is.

    Attributes:
        function: what its tasks run.
        tasks: that completed or failed.
        bundles: that it was cut into.
        task_seconds: how long its tasks took, each in its last attempt, together.
        kept_seconds: how long its events and results can be read after its end.
    """

    function: str = ""
    pool: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    tasks: int = 0
    bundles: int = 0
    task_seconds: float = 0.0
    kept_seconds: float = 0.0
    usage: Usage = Usage()

    def text(self) -> str:
        """As JSON."""
        return orjson.dumps(self).decode()

    @classmethod
    def read(cls, text: str) -> Self:
        """Undo ``text``; what a later release says besides is left out."""
        told: dict[str, Any] = orjson.loads(text)
        usage = {name: int(told.get("usage", {}).get(name, 0)) for name in _USAGE}
        known = {one.name: told[one.name] for one in fields(cls) if one.name in told and one.name != "usage"}
        return cls(**known, usage=Usage(**usage))


_USAGE = tuple(one.name for one in fields(Usage))
