"""A grid as executors and workflow engines see it: sessions of calls, each with arguments of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Any

from htcgrid_core.client.session import Session
from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.client.signatures import checked_calls
from htcgrid_core.client.specs import Specs
from htcgrid_core.client.submit import submit
from htcgrid_core.codecs.events import EncodedEvent, encoded
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.notification import recipients_of
from htcgrid_core.gateway.protocol import Gateway


class CallGrid:
    """What ``map``, an executor and decorators of workflow engines submit to; users have a ``Grid``."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._specs = Specs(gateway)

    def submit_calls(self, function: Callable[..., Any], calls: Iterable[Any], options: Mapping[str, Any]) -> Session:
        """A session of ``function(*args, **kwargs)`` for each ``[args, kwargs]``; options as for ``submit``.

        What a call raises is final unless a retry policy is given.
        """
        total = len(calls) if isinstance(calls, Sized) else None
        if callable(function):
            calls = checked_calls(function, calls)
        return self.submit_encoded_calls(function, encoded("pickle", calls), options, total=total)

    def submit_encoded_calls(
        self,
        function: Callable[..., Any],
        events: Iterable[EncodedEvent],
        options: Mapping[str, Any],
        *,
        total: int | None,
    ) -> Session:
        """As ``submit_calls``, for those who have pickled each ``[args, kwargs]`` by itself."""
        if not callable(function):
            raise InvalidInput(f"a {type(function).__name__} is not callable")
        token, recipients = options.get("token"), recipients_of(options.get("notify"))
        spec = self._specs.of_calls(function, {name: value for name, value in options.items() if name != "notify"})
        session_id, idempotent = session_id_of(token, spec.tenant), token is not None
        return submit(
            self.gateway,
            session_id,
            spec,
            events,
            total=total,
            idempotent=idempotent,
            durable=idempotent,  # whoever waits for a call is this process: what takes the machine takes them both
            notify=recipients,
        )

    def check_calls(self, options: Mapping[str, Any]) -> None:
        """Whether ``submit_calls`` would take these options.

        Raises:
            InvalidInput: one of them is no good.
        """
        self._specs.of_any_call(options)
