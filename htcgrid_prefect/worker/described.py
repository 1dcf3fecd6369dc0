"""In a worker: a state that any flow can load, whatever exception its task raised."""

from __future__ import annotations

import traceback

from prefect.client.schemas.objects import State

from htcgrid_core import TaskError, TaskFailed, pickle_by_value
from htcgrid_prefect.shared.compat import ResultRecord

TRACEBACK_CHARACTERS = 16_000


def described_state(state: State[object]) -> bytes:
    """The state, pickled, with the type, text and traceback of its exception in the place of that."""
    raised = state.data.result if isinstance(state.data, ResultRecord) else state.data
    described = TaskFailed("", 0, _described(raised)) if isinstance(raised, BaseException) else None
    return pickle_by_value(state.model_copy(update={"data": described}))


def _described(error: BaseException) -> TaskError:
    try:
        text, trace = str(error), "".join(traceback.format_exception(error))
    except Exception as broken:  # noqa: BLE001 - whatever the user's class raises
        text = trace = f"(its text raises {type(broken).__name__})"
    if len(trace) > TRACEBACK_CHARACTERS:
        half = TRACEBACK_CHARACTERS // 2
        trace = f"{trace[:half]}\n... {len(trace) - 2 * half:,} characters left out ...\n{trace[-half:]}"
    return TaskError(type(error).__name__, text[:TRACEBACK_CHARACTERS], trace)
