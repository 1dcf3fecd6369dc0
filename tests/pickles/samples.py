"""One object of each kind of ours that is pickled into sessions, results and what Prefect stores.

As a script it writes what the installed release makes of them: ``python samples.py core > core.json``, and the same for
``prefect``. Everything is imported from where the release before has it, so that it runs in both.
"""

from __future__ import annotations

import base64
import json
import os.path
import pickle
import sys
from importlib import import_module
from typing import Any


def core() -> dict[str, Any]:
    """Those of htcgrid_core."""
    from htcgrid_core import RetryPolicy, SessionFailed, SharedInput, TaskFailed, TaskState
    from htcgrid_core.domain import errors
    from htcgrid_core.domain.outcome import TaskError, TaskOutcome
    from htcgrid_core.joblib_backend.backend import _run

    error = TaskError("ValueError", "no good", "Traceback", ValueError("no good"))
    failed = TaskFailed("session", 7, error)
    plain = [kind for kind in vars(errors).values() if isinstance(kind, type) and "__init__" not in vars(kind)]
    return {
        **_public("htcgrid_core"),
        **{f"a {kind.__name__}": kind("what happened") for kind in plain if issubclass(kind, errors.GridError)},
        "a TaskError": error,
        "a TaskFailed": failed,
        "a SessionFailed": SessionFailed("session", "FAILED", "too many", [failed]),
        "a TaskOutcome": TaskOutcome(7, TaskState.FAILED, error=error),
        "a SharedInput": SharedInput("0" * 64, "pickle"),
        "a RetryPolicy": RetryPolicy(max_attempts=5),
        "joblib's function": _run,
    }


def prefect() -> dict[str, Any]:
    """Those of htcgrid_prefect; of Prefect's own classes there are few in them, so that its version does not matter."""
    from htcgrid_prefect import HTCGrid, HTCGridTaskRunner
    from htcgrid_prefect.engine import Header
    from htcgrid_prefect.recorder import Report
    from htcgrid_prefect.shipping import _not_here
    from htcgrid_prefect.worker import BareCall, EngineCall, WorkerSetupFailed

    runner = HTCGridTaskRunner("local://", engine="grid", nested="grid")
    header: Any = {
        "task": os.path.basename, "flow_run": {"flow": _not_here}, "task_run": {}, "tags": ("blue",),
        "deployment_id": None, "deployment_parameters": None, "related": [], "nested": runner, "level": "tasks",
    }  # fmt: skip
    return {
        **_public("htcgrid_prefect"),
        "a task runner": runner,
        "a block": HTCGrid(url="local://", labels={"desk": "rates"}),
        "a call of the bare function": BareCall(os.path.basename, is_async=False),
        "a call with the engine": EngineCall({"PREFECT_TASKS_REFRESH_CACHE": "true"}, b"header"),
        "a header": Header(**header),
        "a report": Report(b"state", True, [b"{}"], []),
        "a failed set-up": WorkerSetupFailed("no module"),
    }


def _public(package: str) -> dict[str, Any]:
    """What a task that a script defines may refer to: pickled as its module and name."""
    module = import_module(package)
    return {f"{package}.{name}": getattr(module, name) for name in module.__all__ if name != "__version__"}


def written(samples: dict[str, Any]) -> dict[str, str]:
    """The pickles, as text."""
    return {name: base64.b64encode(pickle.dumps(sample, protocol=5)).decode() for name, sample in samples.items()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(written({"core": core, "prefect": prefect}[sys.argv[1]]()), indent=1) + "\n")
