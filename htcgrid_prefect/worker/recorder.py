"""In a worker: events and logs of a call are kept, and travel to the parent with its result."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, cast

import orjson
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.events.related import object_as_related_resource, tags_as_related_resources
from prefect.events.schemas.events import Event, RelatedResource
from prefect.events.worker import EventsWorker, ProcessPoolForwardingEventsClient
from prefect.logging.configuration import ensure_logging_setup
from prefect.logging.handlers import PrefectConsoleHandler, set_api_log_sink

from htcgrid_prefect.shared.report import STATE_EVENT, Level


class Recorder:
    """Stands in for Prefect's EventsWorker and for its sender of logs.

    Attributes:
        client_type: one of those for which ``emit_event`` does its work; nothing is sent with it.
    """

    client_type = ProcessPoolForwardingEventsClient

    def __init__(self) -> None:
        self._related: Sequence[RelatedResource] = ()
        self.events: list[Event] = []
        self.logs: list[dict[str, Any]] = []
        self._passed_on: tuple[list[bytes], list[bytes]] = ([], [])

    def install(self) -> None:
        """Take the events and logs of this process."""
        EventsWorker.instance = lambda client_type=None: self  # type: ignore[assignment, return-value]  # noqa: ARG005
        ensure_logging_setup()
        set_api_log_sink(self.logs_append)
        for name in ("", *logging.root.manager.loggerDict):  # the parent prints nothing of it, nor do workers
            logger = logging.getLogger(name)
            for handler in [found for found in logger.handlers if isinstance(found, PrefectConsoleHandler)]:
                logger.removeHandler(handler)

    def begin(self, related: Sequence[RelatedResource]) -> None:
        """Forget what was; ``related`` is what every event of the flow run relates to."""
        self._related = related
        self.events, self.logs = [], []
        self._passed_on = ([], [])

    def put(self, events: Sequence[bytes], logs: Sequence[bytes]) -> None:
        """Take what tasks report that the task itself runs on the grid (``nested="grid"``)."""
        self._passed_on[0].extend(events)
        self._passed_on[1].extend(logs)

    def ask(self, request: object) -> None:
        """There is no API to ask: a progress artifact of a nested map is not made."""

    def close(self) -> None:
        """Nothing is under way."""

    def logs_append(self, log: dict[str, Any]) -> None:
        """Keep a log record that is meant for the API."""
        log.pop("__payload_size__", None)
        self.logs.append(log)

    def send(self, event: Event) -> None:
        """Keep an event, with what it relates to: what EventsWorker would ask the API for."""
        known = {resource.id for resource in event.involved_resources}
        related = list(self._related)
        if context := TaskRunContext.get():
            task_run = context.task_run
            related.append(object_as_related_resource("task-run", "task-run", task_run))
            related += tags_as_related_resources(set(task_run.tags))
        for resource in related:
            if resource.id not in known:
                known.add(resource.id)
                event.related.append(resource)
        self.events.append(event)

    def wait_until_empty(self) -> None:
        """Nothing is ever under way."""

    def kept(self, state: State[Any], level: Level) -> tuple[list[bytes], list[bytes]]:
        """(events, logs) to report at this level, as JSON."""
        nested_events, nested_logs = self._passed_on
        if level == "session" and state.is_completed():
            own = [event for event in self.events if not event.event.startswith(STATE_EVENT)]
            return [event.model_dump_json().encode() for event in own] + nested_events, nested_logs
        own = self.events if level == "tasks" else _last_states(self.events)
        events = [event.model_dump_json().encode() for event in own]
        return events + nested_events, [orjson.dumps(log) for log in self.logs] + nested_logs

    def replace_last_state(self, state: State[Any]) -> None:
        """Report ``state`` as the one that the task run ended in."""
        for position in range(len(self.events) - 1, -1, -1):
            event = self.events[position]
            if event.event.startswith(STATE_EVENT):
                self.events[position] = _restated(event, state)
                return


def _last_states(events: Sequence[Event]) -> list[Event]:
    """Without the state changes that another one of the same task run follows."""
    last = {event.resource.id: event.id for event in events if event.event.startswith(STATE_EVENT)}
    return [
        event.model_copy(update={"follows": None})  # what it followed is not reported
        for event in events
        if not event.event.startswith(STATE_EVENT) or last[event.resource.id] == event.id
    ]


def _restated(event: Event, state: State[Any]) -> Event:
    payload = dict(event.payload)
    payload["intended"] = {**payload["intended"], "to": state.type.value}
    payload["validated_state"] = {
        "type": state.type.value, "name": state.name, "message": state.message, "state_details": {}, "data": None,
    }  # fmt: skip
    labels = {
        **event.resource.root,
        "prefect.state-name": cast("str", state.name),
        "prefect.state-type": state.type.value,
        "prefect.state-message": state.message or "",
    }
    resource = type(event.resource)(root=labels)
    return event.model_copy(update={"event": f"{STATE_EVENT}{state.name}", "payload": payload, "resource": resource})


RECORDER = Recorder()
