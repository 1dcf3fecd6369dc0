"""HTC-Grid: hand a workflow step to a grid as one session of many short tasks, and wait for it.

Importing this package is quick: each name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from htcgrid_core.agent.workers.context import Context as Context
    from htcgrid_core.client.async_grid import AsyncGrid as AsyncGrid
    from htcgrid_core.client.async_session import AsyncSession as AsyncSession
    from htcgrid_core.client.connect import connect as connect
    from htcgrid_core.client.connect import connect_async as connect_async
    from htcgrid_core.client.ended import EndedSessions as EndedSessions
    from htcgrid_core.client.event_files import events_from as events_from
    from htcgrid_core.client.event_files import events_in as events_in
    from htcgrid_core.client.event_files import format_of as format_of
    from htcgrid_core.client.event_source import EventSource as EventSource
    from htcgrid_core.client.executor import GridExecutor as GridExecutor
    from htcgrid_core.client.grid import Grid as Grid
    from htcgrid_core.client.progress import Progress as Progress
    from htcgrid_core.client.result_files import result_format_of as result_format_of
    from htcgrid_core.client.result_files import results_as_json as results_as_json
    from htcgrid_core.client.result_files import write_results as write_results
    from htcgrid_core.client.result_sink import Manifest as Manifest
    from htcgrid_core.client.result_sink import ResultRows as ResultRows
    from htcgrid_core.client.result_sink import ResultSink as ResultSink
    from htcgrid_core.client.server_sources import server_source as server_source
    from htcgrid_core.client.session import Session as Session
    from htcgrid_core.client.session_ids import session_id_of as session_id_of
    from htcgrid_core.client.task_errors import InvalidResult as InvalidResult
    from htcgrid_core.client.task_errors import OutOfMemory as OutOfMemory
    from htcgrid_core.client.task_errors import WorkerCrashed as WorkerCrashed
    from htcgrid_core.codecs.by_value import pickle_by_value as pickle_by_value
    from htcgrid_core.codecs.shared import SharedInput as SharedInput
    from htcgrid_core.data.checking import checked as checked
    from htcgrid_core.data.opening import sink as sink
    from htcgrid_core.data.opening import source as source
    from htcgrid_core.data.streams.running import run_stream as run_stream
    from htcgrid_core.domain.errors import AccessDenied as AccessDenied
    from htcgrid_core.domain.errors import CorruptPayload as CorruptPayload
    from htcgrid_core.domain.errors import CredentialsExpired as CredentialsExpired
    from htcgrid_core.domain.errors import FunctionNotFound as FunctionNotFound
    from htcgrid_core.domain.errors import GridError as GridError
    from htcgrid_core.domain.errors import GridUnavailable as GridUnavailable
    from htcgrid_core.domain.errors import IllegalTransition as IllegalTransition
    from htcgrid_core.domain.errors import IncompatibleGrid as IncompatibleGrid
    from htcgrid_core.domain.errors import InvalidEvent as InvalidEvent
    from htcgrid_core.domain.errors import InvalidEvents as InvalidEvents
    from htcgrid_core.domain.errors import InvalidInput as InvalidInput
    from htcgrid_core.domain.errors import InvalidPackage as InvalidPackage
    from htcgrid_core.domain.errors import NotTabular as NotTabular
    from htcgrid_core.domain.errors import SessionConflict as SessionConflict
    from htcgrid_core.domain.errors import SessionFailed as SessionFailed
    from htcgrid_core.domain.errors import SessionHeld as SessionHeld
    from htcgrid_core.domain.errors import SessionNotFinished as SessionNotFinished
    from htcgrid_core.domain.errors import SessionNotFound as SessionNotFound
    from htcgrid_core.domain.errors import SignatureInvalid as SignatureInvalid
    from htcgrid_core.domain.errors import TaskFailed as TaskFailed
    from htcgrid_core.domain.errors import UnknownGrid as UnknownGrid
    from htcgrid_core.domain.errors import WaitTimeout as WaitTimeout
    from htcgrid_core.domain.errors import WouldDeadlock as WouldDeadlock
    from htcgrid_core.domain.function import FunctionVersion as FunctionVersion
    from htcgrid_core.domain.lifecycle import SessionState as SessionState
    from htcgrid_core.domain.lifecycle import TaskState as TaskState
    from htcgrid_core.domain.notification import Notification as Notification
    from htcgrid_core.domain.notification import StepFunctionsTask as StepFunctionsTask
    from htcgrid_core.domain.outcome import TaskOutcome as TaskOutcome
    from htcgrid_core.domain.patience import Patience as Patience
    from htcgrid_core.domain.printable import printable as printable
    from htcgrid_core.domain.printable import printable_line as printable_line
    from htcgrid_core.domain.retry import RetryPolicy as RetryPolicy
    from htcgrid_core.domain.version import __version__ as __version__

_ERRORS = (
    "AccessDenied", "CorruptPayload", "CredentialsExpired", "FunctionNotFound", "GridError", "GridUnavailable",
    "IllegalTransition", "IncompatibleGrid", "InvalidEvent", "InvalidEvents", "InvalidInput", "InvalidPackage",
    "NotTabular", "SessionConflict", "SessionFailed", "SessionHeld", "SessionNotFinished", "SessionNotFound",
    "SignatureInvalid", "TaskFailed", "UnknownGrid", "WaitTimeout", "WouldDeadlock",
)  # fmt: skip
_HOMES = {
    "Context": "htcgrid_core.agent.workers.context",
    "connect": "htcgrid_core.client.connect",
    "connect_async": "htcgrid_core.client.connect",
    "AsyncGrid": "htcgrid_core.client.async_grid",
    "AsyncSession": "htcgrid_core.client.async_session",
    "EndedSessions": "htcgrid_core.client.ended",
    "GridExecutor": "htcgrid_core.client.executor",
    "events_from": "htcgrid_core.client.event_files",
    "events_in": "htcgrid_core.client.event_files",
    "format_of": "htcgrid_core.client.event_files",
    "EventSource": "htcgrid_core.client.event_source",
    "Grid": "htcgrid_core.client.grid",
    "Manifest": "htcgrid_core.client.result_sink",
    "ResultRows": "htcgrid_core.client.result_sink",
    "ResultSink": "htcgrid_core.client.result_sink",
    "checked": "htcgrid_core.data.checking",
    "sink": "htcgrid_core.data.opening",
    "source": "htcgrid_core.data.opening",
    "run_stream": "htcgrid_core.data.streams.running",
    "session_id_of": "htcgrid_core.client.session_ids",
    "InvalidResult": "htcgrid_core.client.task_errors",
    "OutOfMemory": "htcgrid_core.client.task_errors",
    "WorkerCrashed": "htcgrid_core.client.task_errors",
    "result_format_of": "htcgrid_core.client.result_files",
    "results_as_json": "htcgrid_core.client.result_files",
    "write_results": "htcgrid_core.client.result_files",
    "Progress": "htcgrid_core.client.progress",
    "server_source": "htcgrid_core.client.server_sources",
    "Session": "htcgrid_core.client.session",
    "pickle_by_value": "htcgrid_core.codecs.by_value",
    "SharedInput": "htcgrid_core.codecs.shared",
    "FunctionVersion": "htcgrid_core.domain.function",
    "SessionState": "htcgrid_core.domain.lifecycle",
    "TaskState": "htcgrid_core.domain.lifecycle",
    "Notification": "htcgrid_core.domain.notification",
    "StepFunctionsTask": "htcgrid_core.domain.notification",
    "TaskError": "htcgrid_core.domain.task_error",
    "TaskOutcome": "htcgrid_core.domain.outcome",
    "Patience": "htcgrid_core.domain.patience",
    "RetryPolicy": "htcgrid_core.domain.retry",
    "printable": "htcgrid_core.domain.printable",
    "printable_line": "htcgrid_core.domain.printable",
    "__version__": "htcgrid_core.domain.version",
    **dict.fromkeys(_ERRORS, "htcgrid_core.domain.errors"),
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
