"""What the futures of one ``submit`` or ``map`` have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

import cloudpickle
from prefect.client.schemas.objects import State, StateDetails
from prefect.states import Completed, Crashed

from htcgrid_prefect.shared.compat import ResultRecord, ResultRecordMetadata, new_run_id

if TYPE_CHECKING:
    from htcgrid_prefect.flow.map_run import MapRun
    from htcgrid_prefect.flow.remote_task import RemoteTask

F = TypeVar("F")
"""Its futures, which know of their group and not the other way round."""


@dataclass(eq=False, slots=True)
class Group(Generic[F]):
    """The calls of one ``submit`` or ``map``.

    Attributes:
        remote_task: what runs them.
        size: how many there are.
        condition: one for all futures of a runner; notified when any was settled.
        cancel: ends those of the given futures that have not ended; whether it ended any.
        run: the one task run that stands for all of them, if that is how they are reported.
        crashed: told of a run whose result turns out not to be loadable, which the API has as Completed.
    """

    remote_task: RemoteTask
    size: int
    condition: threading.Condition
    cancel: Callable[[list[F]], bool]
    run: MapRun | None = None
    crashed: Callable[[UUID, State[Any]], object] = lambda _run_id, _state: None
    _first_id: int = field(default_factory=lambda: new_run_id().int)
    _kept_ids: dict[int, UUID] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The task's name."""
        return self.remote_task.task.name

    @property
    def is_bare(self) -> bool:
        """Whether results come without a State."""
        return self.remote_task.is_bare

    def run_id(self, index: int) -> UUID:
        """The task run's id: version 7, and consecutive within the group, so that none has to be kept."""
        return self._kept_ids.get(index) or UUID(int=self._first_id + index)

    def keep_run_id(self, index: int, run_id: UUID) -> None:
        """A call has been on the grid before, as this task run."""
        self._kept_ids[index] = run_id

    def details(self, index: int) -> StateDetails:
        """Whose state it is."""
        return StateDetails(flow_run_id=self.remote_task.flow_run_id, task_run_id=self.run_id(index))

    def value(self, pickled: bytes) -> Any:
        """A result that came without a State.

        Raises:
            Exception: whatever loading it raises.
        """
        return cloudpickle.loads(pickled)

    def state(self, index: int, settled: bytes | State[Any]) -> State[Any]:
        """The final state."""
        if isinstance(settled, State):
            return settled
        try:
            loaded = cloudpickle.loads(settled)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever loading the user's objects raises
            message = f"the task's result cannot be loaded here: {type(error).__name__}: {error}"
            state: State[Any] = Crashed(message=message, state_details=self.details(index))
            self.crashed(self.run_id(index), state)
            return state
        if not self.is_bare:
            assert isinstance(loaded, State), "workers report states"
            return loaded
        record = ResultRecord[Any](metadata=ResultRecordMetadata.model_construct(), result=loaded)
        return Completed(data=record, state_details=self.details(index))
