"""The second argument of a handler, as in AWS Lambda, with the task's place in its session."""

from __future__ import annotations

import time

from htcgrid_core.domain.trace import Trace, of_session


class Context:
    """What a handler may ask about its invocation.

    Attributes:
        function_name: the name of a deployed function, else the handler's.
        function_version: the version of a deployed function as text, else ``$LATEST``.
        memory_limit_in_mb: the session's ``memory_mb``, or None.
        session_id, task_index, attempt: which task this is, and its execution, from 1.
        labels: of the session.
        tenant_id: the session's tenant, None if it names none.
        traceparent, tracestate: the span of this attempt in the trace of whoever submitted, as W3C writes it.
    """

    __module__ = "htcgrid_core"  # in pickles: the public name, wherever its file is
    __slots__ = (
        "_deadline", "_submitted", "attempt", "function_name", "function_version", "labels", "memory_limit_in_mb",
        "session_id", "task_index", "tenant_id",
    )  # fmt: skip

    def __init__(
        self,
        session_id: str,
        task_index: int,
        attempt: int,
        function_name: str,
        memory_limit_in_mb: int | None,
        deadline: float | None,
        function_version: str = "$LATEST",
        submitted: tuple[str, str] = ("", ""),
    ) -> None:
        self.session_id = session_id
        self.task_index = task_index
        self.attempt = attempt
        self.labels: dict[str, str] = {}
        self.tenant_id: str | None = None
        self.function_name = function_name
        self.function_version = function_version
        self.memory_limit_in_mb = memory_limit_in_mb
        self._deadline = deadline
        self._submitted = submitted  # traceparent and tracestate; most handlers never ask

    @property
    def aws_request_id(self) -> str:
        """Unique to this attempt."""
        return f"{self.session_id}/{self.task_index}/{self.attempt}"

    @property
    def traceparent(self) -> str:
        """The W3C trace context for what the handler calls."""
        return self._trace().parent

    @property
    def tracestate(self) -> str:
        """What goes with it; empty if nothing does."""
        return self._trace().state

    def _trace(self) -> Trace:
        return of_session(self.session_id, *self._submitted).attempt(self.session_id, self.task_index, self.attempt)

    def get_remaining_time_in_millis(self) -> int:
        """Time until the task is killed; 2**31 - 1 if it has no time limit."""
        if self._deadline is None:
            return 2**31 - 1
        return max(0, round((self._deadline - time.monotonic()) * 1000))
