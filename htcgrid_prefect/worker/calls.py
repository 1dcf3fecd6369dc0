"""What the grid's workers are sent: a callable, pickled once for a session, that runs one call of a Prefect task.

This module does not import Prefect: its settings must be in the environment before that.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import cloudpickle

from htcgrid_core.telemetry.running import in_the_tasks_trace

if TYPE_CHECKING:
    from uuid import UUID

    from htcgrid_prefect.shared.sink import Sink
    from htcgrid_prefect.worker.engine import Engine

# Workers have no API: what asks for one is refused at once, by a port that nobody listens on.
NO_API = {
    "PREFECT_API_URL": "http://127.0.0.1:9/api",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    "PREFECT_PROFILES_PATH": os.devnull,
}
_passed_on = {name for name in os.environ if name.startswith("PREFECT_")}
"""Settings that whoever started the agents lets through to workers: they win."""
# The classes here are pickled under the path of their package, which is where the release before has them.

_sink: Sink | None = None


def sink_of_this_worker() -> Sink | None:
    """In a worker, where reports of tasks go that its task submits to the grid; None elsewhere."""
    return _sink


class WorkerSetupFailed(Exception):
    """A worker could not load the task, or what it refers to."""

    __module__ = "htcgrid_prefect.worker"


class BareCall:
    """``engine="grid"``: the task's function, and nothing of Prefect around it."""

    __module__ = "htcgrid_prefect.worker"

    def __init__(self, function: Callable[..., Any], is_async: bool) -> None:
        self._function = cloudpickle.dumps(function)
        self._is_async = is_async
        self._loaded: Callable[..., Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": None}

    def __call__(self, event: tuple[bytes, tuple[Any, ...], dict[str, Any]]) -> bytes:
        """Call the function; the result is pickled, so that it is loaded only where somebody asks for it."""
        if self._loaded is None:
            self._loaded = _load(self._function)
            self._function = b""  # it may be large, and what came of it is kept
        _, args, kwargs = event
        with in_the_tasks_trace():
            result = self._loaded(*args, **kwargs)
            if self._is_async:
                result = asyncio.run(result)
        return bytes(cloudpickle.dumps(result))


class EngineCall:
    """``engine="prefect"``: the task as Prefect's own engine runs it.

    Args:
        settings: environment variables that Prefect reads; no secret among them.
        header: a pickled ``htcgrid_prefect.shared.header.Header``.
    """

    __module__ = "htcgrid_prefect.worker"

    def __init__(self, settings: Mapping[str, str], header: bytes) -> None:
        self._settings = dict(settings)
        self._header = header
        self._engine: Engine | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engine": None}

    def __call__(self, event: tuple[UUID, dict[str, Any], Any, Any]) -> Any:
        """Run one call: what to tell the parent, as ``htcgrid_prefect.shared.report.Report``."""
        if self._engine is None:
            self._engine = self._prepared()
            self._header = b""  # it may be large, and what came of it is kept
        return self._engine.run(*event)

    def _prepared(self) -> Engine:
        for name in [name for name in os.environ if name.startswith("PREFECT_") and name not in _passed_on]:
            del os.environ[name]  # of the session before
        settings = {name: value for name, value in {**self._settings, **NO_API}.items() if name not in _passed_on}
        os.environ.update(settings)
        header = _load(self._header)
        global _sink
        from htcgrid_prefect.worker.engine import Engine, worker_context
        from htcgrid_prefect.worker.recorder import RECORDER

        _sink = RECORDER
        return Engine(header, worker_context(frozenset(settings.items())))


def _load(pickled: bytes) -> Any:
    try:
        return cloudpickle.loads(pickled)
    except Exception as error:
        raise WorkerSetupFailed(
            f"the task cannot be loaded in the worker: {type(error).__name__}: {error}. "
            "Install what it imports where the grid's workers run"
        ) from error
