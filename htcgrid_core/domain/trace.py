"""W3C trace context: the trace that a session belongs to, and the span of each attempt of its tasks.

https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import lru_cache

# Versions after 00 may have more parts.
TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"((?<!^00.{53})-.*)?"
)
STATE_CHARACTERS = 512  # of a tracestate that is passed on; W3C asks for no more


@dataclass(frozen=True, slots=True)
class Trace:
    """A place in a trace.

    Attributes:
        trace_id, span_id: 32 and 16 hexadecimal digits.
        flags: two hexadecimal digits; 01 says that whoever began the trace records it.
        state: what systems on the way have noted, for themselves.
    """

    trace_id: str
    span_id: str
    flags: str = "00"
    state: str = ""

    @property
    def parent(self) -> str:
        """As a ``traceparent``."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    @property
    def x_ray(self) -> str:
        """As AWS X-Ray writes it: what Lambda's runtime clients are told."""
        root, sampled = f"1-{self.trace_id[:8]}-{self.trace_id[8:]}", int(self.flags, 16) & 1
        return f"Root={root};Parent={self.span_id};Sampled={sampled}"

    @property
    def w3c(self) -> dict[str, str]:
        """Its fields, as Lambda's contexts tell them: what is empty is not there."""
        return {"traceparent": self.parent, **({"tracestate": self.state} if self.state else {})}

    @property
    def is_recorded(self) -> bool:
        """Whether whoever began it records it."""
        return bool(int(self.flags, 16) & 1)

    def recorded(self, is_recorded: bool) -> Trace:
        """The same place in a trace that is recorded, or is not."""
        flags = int(self.flags, 16) & ~1 | is_recorded
        return replace(self, flags=f"{flags:02x}")

    def bundle(self, session_id: str, bundle_id: str, epoch: int) -> Trace:
        """The span of one lease of a bundle, the same wherever it is asked for."""
        return replace(self, span_id=_digest(f"{session_id}/bundle/{bundle_id}/{epoch}", 8))

    def attempt(self, session_id: str, index: int, attempt: int, traced_every: int | None = None) -> Trace:
        """The span of one attempt of a task, likewise.

        Args:
            traced_every: each how manieth task is recorded, 0 for none; None to record it if the session is.
        """
        span = replace(self, span_id=_digest(f"{session_id}/{index}/{attempt}", 8))
        return span if traced_every is None else span.recorded(is_traced(index, traced_every))


def is_traced(index: int, traced_every: int) -> bool:
    """Whether a task has a span of its own, where each ``traced_every``-th has; 0 for none."""
    return traced_every > 0 and index % traced_every == 0


def parsed(traceparent: str, tracestate: str = "") -> Trace | None:
    """The place that a ``traceparent`` names; None if it names none.

    Args:
        tracestate: left out if it is none: too long, or not of printable ASCII.
    """
    found = TRACEPARENT.fullmatch(traceparent.strip())
    if found is None:
        return None
    may_pass = len(tracestate) <= STATE_CHARACTERS and tracestate.isascii() and tracestate.isprintable()
    return Trace(found["trace"], found["span"], found["flags"], tracestate if may_pass else "")


@lru_cache(maxsize=1000)
def of_session(session_id: str, traceparent: str, tracestate: str) -> Trace:
    """Where a session was submitted; a trace of its own, made from its id, if nobody traced that."""
    return parsed(traceparent, tracestate) or Trace(_digest(session_id, 16), _digest(session_id, 8))


def _digest(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
