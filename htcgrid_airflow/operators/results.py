"""HTCGridResultsOperator: collect what a session returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from htcgrid_airflow.collect import check_result, collect, manifest_of, reduced, reducer_of
from htcgrid_airflow.operators.base import HTCGridOperator, session_on
from htcgrid_airflow.policy import FailurePolicy, check_policy, counts_of, is_accepted
from htcgrid_core import SessionNotFinished

if TYPE_CHECKING:
    from airflow.sdk import Context


class HTCGridResultsOperator(HTCGridOperator):
    """Writes the results of a session that has ended to a path, or returns them.

    Args:
        session: the session's id, or the manifest in the XCom of the task that submitted it.
        result: "inline", "manifest", or the path or URL of a .jsonl or .parquet file.
        result_conn_id: the Airflow connection of the object storage, if the URL does not name it.
        reduce: names of reducers, such as "mean" or ["mean", "quantiles:0.01,0.99"]: what they make of the results is
            returned instead; of several, by their names.
        reduce_of: the key in each result of what is reduced.
        failure_policy: which failed tasks are tolerated, as for HTCGridSubmitOperator.
    """

    template_fields: Sequence[str] = (
        "session", "result", "result_conn_id", "reduce", "reduce_of", "htcgrid_conn_id", "grid",
    )  # fmt: skip
    text_fields = frozenset(template_fields) - {"session", "reduce"}

    def __init__(
        self,
        *,
        session: str | Mapping[str, Any] | Any,
        result: str = "inline",
        result_conn_id: str | None = None,
        reduce: str | Sequence[str] | None = None,
        reduce_of: str | None = None,
        failure_policy: FailurePolicy = "any",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.session = session
        self.result = result
        self.result_conn_id = result_conn_id
        self.reduce = reduce
        self.reduce_of = reduce_of
        self.failure_policy = failure_policy

    def execute(self, context: Context) -> Any:
        """Collect.

        Raises:
            SessionNotFinished: the session still runs; an HTCGridSessionSensor waits for it.
            SessionFailed: it ended with more failures than are tolerated.
        """
        check_policy(self.failure_policy)
        check_result(self.result)
        reducer = reducer_of(self.reduce, self.reduce_of)
        with self.hook.get_conn() as grid:
            session = session_on(grid, self.session)
            progress = session.progress()
            if not progress.ended:
                raise SessionNotFinished(
                    f"session {session.id} is {progress.state}: wait for it with HTCGridSessionSensor"
                )
            counts = counts_of(grid, session, progress)
            if not is_accepted(self.failure_policy, progress, counts):
                session.raise_for_state()
            if reducer is not None:
                return reduced(session, reducer)
            manifest = manifest_of(grid, session, str(progress.state), counts)
            return collect(session, self.result, manifest, self.result_conn_id)
