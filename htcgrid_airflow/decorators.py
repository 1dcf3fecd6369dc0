"""``@task.htcgrid``: the decorated function is the handler, one of its arguments the task vector."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, task_decorator_factory

from htcgrid_airflow.bound_call import BoundCall
from htcgrid_airflow.callables import called_within, held_within, send_dag_files_along
from htcgrid_airflow.nested import fetched
from htcgrid_airflow.operators.submit import HTCGridSubmitOperator
from htcgrid_airflow.vectors import events_of
from htcgrid_core import Grid, RetryPolicy, Session

if TYPE_CHECKING:
    from airflow.sdk import Context

SUBMIT_FIELDS = tuple(name for name in HTCGridSubmitOperator.template_fields if name not in ("function", "tasks"))


class HTCGridDecoratedOperator(DecoratedOperator, HTCGridSubmitOperator):
    """Calls the decorated function once for each item of its argument ``over``, as tasks of one session.

    The other arguments are stored once and shared by all tasks.

    Args:
        over: the argument, or the arguments that go in step like those of ``zip``.
    """

    custom_operator_name = "@task.htcgrid"
    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *SUBMIT_FIELDS)
    template_fields_renderers = {**DecoratedOperator.template_fields_renderers, "labels": "json"}  # noqa: RUF012
    shallow_copy_attrs: Sequence[str] = ("python_callable",)

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        over: str | Sequence[str],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        result: str = "inline",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            python_callable=python_callable,
            op_args=held_within(op_args),
            op_kwargs=held_within(op_kwargs),
            function=python_callable,
            tasks=(),
            result=result,
            **kwargs,
        )
        self.over = over

    def execute(self, context: Context) -> Any:
        """Submit, wait and collect."""
        self.op_args, self.op_kwargs = (called_within(fetched(given)) for given in (self.op_args, self.op_kwargs))
        return HTCGridSubmitOperator.execute(self, context)

    def submit(self, grid: Grid, context: Context, token: str) -> Session:
        """A call of the function for each item."""
        send_dag_files_along()
        how: dict[str, Any] = {
            "kind": self.tasks_format,
            "options": self.tasks_options,
            "conn_id": self.tasks_conn_id,
        }
        call = BoundCall(self.python_callable, self.op_args, self.op_kwargs, self.over)
        vectors = [events_of(given, **how) for given in call.vectors]
        call.share(lambda value: grid.put(value, codec="pickle"))
        calls = (call.of(items) for items in zip(*vectors, strict=len(vectors) > 1))
        options = self.options(grid, context, token)
        options.pop("on_progress")
        options["retry"] = RetryPolicy() if options["retry"] is None else options["retry"]
        return grid.submit_calls(self.python_callable, calls, options)


def htcgrid_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Make the function a step that fans out: ``@task.htcgrid(over="trades")``.

    Args:
        python_callable: the function.
        kwargs: ``over``, and what HTCGridSubmitOperator takes but for ``function`` and ``tasks``.
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=HTCGridDecoratedOperator, **kwargs
    )
