"""The second argument of a handler, as in AWS Lambda, with the task's place in its session."""

from __future__ import annotations

import os
import sys
import time
from functools import cached_property
from typing import Any

from htcgrid_core.domain.trace import Trace, of_session

# What a Context was made of before it had attributes that may be set: pickles of it hold these.
_SLOTS = (
    "_deadline", "_submitted", "attempt", "function_name", "function_version", "labels", "memory_limit_in_mb",
    "session_id", "task_index", "tenant_id",
)  # fmt: skip


class Client:
    """The mobile application that has invoked a function: on a grid there is none."""

    installation_id: str | None = None
    app_title: str | None = None
    app_version_name: str | None = None
    app_version_code: str | None = None
    app_package_name: str | None = None


class ClientContext:
    """What whoever invokes a function may tell it.

    Attributes:
        custom: the task's place in its session, and its trace.
        env: empty.
        client: a Client.
    """

    def __init__(self, custom: dict[str, Any]) -> None:
        self.custom = custom
        self.env: dict[str, Any] = {}
        self.client = Client()


class Identity:
    """The Cognito identity that has invoked a function: none, as in Lambda unless a mobile application has."""

    cognito_identity_id: str | None = None
    cognito_identity_pool_id: str | None = None


class Context:
    """What a handler may ask about its invocation. Attributes may be set on it.

    Attributes:
        function_name: the name of a deployed function, else the handler's.
        function_version: the version of a deployed function as text, else ``$LATEST``.
        invoked_function_arn: an ARN of no account.
        memory_limit_in_mb: of a deployed function as text, as in Lambda; else the session's ``memory_mb``, or None.
        log_group_name, log_stream_name: of a deployed function, else None.
        aws_request_id: unique to this attempt.
        client_context: what a Lambda client of the grid's would tell, the task's place and trace.
        identity: nobody's.
        session_id, task_index, attempt: which task this is, and its execution, from 1.
        labels: of the session.
        tenant_id: the session's tenant, None if it names none.
        traceparent, tracestate: the span of this attempt in the trace of whoever submitted, as W3C writes it.
    """

    __module__ = "htcgrid_core"  # in pickles: the public name, wherever its file is

    def __init__(
        self,
        session_id: str,
        task_index: int,
        attempt: int,
        function_name: str,
        memory_limit_in_mb: int | str | None,
        deadline: float | None,
        function_version: str = "$LATEST",
        submitted: tuple[str, str] = ("", ""),
        arn: str = "",
        labels: dict[str, str] | None = None,
        tenant_id: str | None = None,
        traced_every: int | None = None,
    ) -> None:
        self.session_id = session_id
        self.task_index = task_index
        self.attempt = attempt
        self.labels: dict[str, str] = {} if labels is None else labels
        self.tenant_id = tenant_id
        self.function_name = function_name
        self.function_version = function_version
        self.memory_limit_in_mb = memory_limit_in_mb
        self._deadline = deadline
        self._arn = arn
        self._submitted = submitted  # traceparent and tracestate; most handlers never ask
        self._traced_every = traced_every

    # What is made when a handler asks for it: most never do.

    @cached_property
    def aws_request_id(self) -> str:
        """Unique to this attempt."""
        return f"{self.session_id}/{self.task_index}/{self.attempt}"

    @cached_property
    def invoked_function_arn(self) -> str:
        """Of no account, and of no region but for a deployed function on AWS."""
        return self._arn or f"arn:aws:lambda:local:000000000000:function:{self.function_name}"

    @cached_property
    def log_group_name(self) -> str | None:
        """Of a deployed function, else None."""
        return os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")

    @cached_property
    def log_stream_name(self) -> str | None:
        """Of a deployed function's worker, else None."""
        return os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")

    @cached_property
    def client_context(self) -> ClientContext:
        """The task's place in its session, and its trace."""
        place = {"session_id": self.session_id, "task_index": self.task_index, "attempt": self.attempt}
        return ClientContext({**place, "traceparent": self.traceparent, "tracestate": self.tracestate})

    @cached_property
    def identity(self) -> Identity:
        """Nobody's."""
        return Identity()

    @property
    def traceparent(self) -> str:
        """The W3C trace context for what the handler calls."""
        return self._trace.parent

    @property
    def tracestate(self) -> str:
        """What goes with it; empty if nothing does."""
        return self._trace.state

    @cached_property
    def x_ray(self) -> str | None:
        """The trace context as AWS X-Ray writes it; None if the handler has taken it out of its environment."""
        return self._trace.x_ray

    def w3c(self) -> dict[str, str]:
        """The trace context, as a dictionary of what there is of it."""
        return self._trace.w3c

    @cached_property
    def _trace(self) -> Trace:
        place = of_session(self.session_id, *self._submitted)
        return place.attempt(self.session_id, self.task_index, self.attempt, self._traced_every)

    def get_remaining_time_in_millis(self) -> int:
        """Time until the task is killed; 2**31 - 1 if it has no time limit."""
        if self._deadline is None:
            return 2**31 - 1
        return max(0, round((self._deadline - time.monotonic()) * 1000))

    def log(self, message: object) -> None:
        """Print, without an end of line."""
        sys.stdout.write(str(message))

    def __getstate__(self) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """As a release pickles it whose contexts have slots, so that both load what either has pickled."""
        made = {"_arn"} | {name for name, value in vars(Context).items() if isinstance(value, cached_property)}
        own = {name: value for name, value in self.__dict__.items() if name not in made}
        slots = {name: own.pop(name) for name in _SLOTS if name in own}
        return own or None, slots

    def __repr__(self) -> str:
        return f"<Context of {self.function_name}:{self.function_version}, {self.aws_request_id}>"
