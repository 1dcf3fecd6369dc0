"""A step of a DAG without an Airflow around it: a context with what the operators use of one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from htcgrid_airflow.triggers import HTCGridSessionTrigger

BEGAN = datetime(2026, 11, 20, 6, tzinfo=UTC)


class Store(dict[str, Any]):
    """A task state store."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        self[key] = value


@dataclass
class Step:
    """A task instance from one try to the next, as the worker sees it."""

    task_id: str = "fan_out"
    run_id: str = field(default_factory=lambda: f"run-{uuid4()}")
    began: datetime = BEGAN
    retries: int = 0
    try_number: int = 1
    max_tries: int = 0
    ti_id: str = field(default_factory=lambda: str(uuid4()))
    store: Store | None = field(default_factory=Store)
    xcoms: dict[str, Any] = field(default_factory=dict)

    def retried(self) -> Step:
        """The next try."""
        return replace(self, try_number=self.try_number + 1, ti_id=str(uuid4()), xcoms={})

    def cleared(self) -> Step:
        """The first try after a clear, which raises max_tries as Airflow does."""
        return replace(self.retried(), max_tries=self.try_number + self.retries)

    def context(self) -> Any:
        """What ``execute`` is given."""
        ti = SimpleNamespace(
            id=self.ti_id,
            dag_id="dag",
            run_id=self.run_id,
            task_id=self.task_id,
            map_index=-1,
            try_number=self.try_number,
            max_tries=self.max_tries,
            xcom_push=self._push,
        )
        found = {"ti": ti, "dag_run": SimpleNamespace(start_date=self.began)}
        return found if self.store is None else {**found, "task_state_store": self.store}

    def _push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


def deferred_by(operator: Any, context: Any) -> HTCGridSessionTrigger:
    """The trigger that an operator defers with."""
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    trigger = deferred.value.trigger
    assert isinstance(trigger, HTCGridSessionTrigger)
    return trigger
