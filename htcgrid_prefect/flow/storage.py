"""Where a task's results are stored, as workers are sent it: blocks are loaded here, since workers have no API."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from prefect import Task
from prefect.cache_policies import CachePolicy
from prefect.context import FlowRunContext, TaskRunContext
from prefect.results import get_default_result_storage, resolve_result_storage
from prefect.settings import get_current_settings

from htcgrid_core import InvalidInput
from htcgrid_prefect.flow.secrets import without_secrets
from htcgrid_prefect.shared.compat import default_persist_result


def with_storage(task: Task[..., Any]) -> Task[..., Any]:
    """The task, with the storage that it or a setting names loaded, and without secrets.

    In a flow, or a task, the context has the storage of those that name none.

    Raises:
        InvalidInput: it cannot be loaded.
    """
    sent = copy.copy(task)
    if task.result_storage is not None:
        sent.result_storage = _loaded(task, task.result_storage, "result storage")
    elif FlowRunContext.get() is None and TaskRunContext.get() is None:
        sent.result_storage = _default(task)
        if task.persist_result is None:
            sent.persist_result = get_current_settings().tasks.default_persist_result
            if sent.persist_result is None:
                sent.persist_result = default_persist_result()
    policy = task.cache_policy
    if isinstance(policy, CachePolicy) and policy.key_storage is not None:
        storage = policy.key_storage
        if isinstance(storage, str) and storage.count("/") != 1:  # a path, as Prefect tells them apart
            storage = Path(storage)
        sent.cache_policy = copy.copy(policy)
        sent.cache_policy.key_storage = _loaded(task, storage, "cache policy's key storage")
    return sent


def _loaded(task: Task[..., Any], storage: Any, what: str) -> Any:
    if isinstance(storage, Path):
        return storage
    try:
        return without_secrets(resolve_result_storage(storage, _sync=True))  # type: ignore[call-arg]  # see Prefect's async_dispatch
    except Exception as error:  # whatever the block's class raises, or the API
        raise _not_loaded(task, f"its {what} {storage!r}", error) from error


def _default(task: Task[..., Any]) -> Any:
    try:
        return without_secrets(get_default_result_storage(_sync=True))  # type: ignore[call-arg]  # likewise
    except Exception as error:  # whatever the block's class raises, or the API
        name = get_current_settings().results.default_storage_block
        what = f"the result storage {name!r}, which PREFECT_DEFAULT_RESULT_STORAGE_BLOCK names,"
        raise _not_loaded(task, what if name else "the server's default result storage", error) from error


def _not_loaded(task: Task[..., Any], what: str, error: Exception) -> InvalidInput:
    return InvalidInput(
        f"task {task.name!r} cannot be sent to the grid: {what} cannot be loaded: {type(error).__name__}: {error}"
    )
