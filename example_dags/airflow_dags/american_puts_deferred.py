"""The same table without a worker that waits: submit, a deferrable sensor, results.

While the grid works, the run has no process of its own: the triggerer asks for all waiting sessions in one call.

Its modules are in the folder above, and need ``pip install ".[airflow,examples]"`` in the checkout: put that folder on
PYTHONPATH of Airflow's processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow.sdk import DAG, Param

from htcgrid_airflow.operators import HTCGridResultsOperator, HTCGridSubmitOperator
from htcgrid_airflow.sensors import HTCGridSessionSensor


def events(paths: str | int) -> Iterator[Any]:
    """Yield the events to the submitting worker: nothing is written anywhere but to the grid."""
    import longstaff_schwartz as model

    yield from model.events(paths=int(paths), batch_paths=min(int(paths), model.BATCH_PATHS))


PARAMS = {
    "paths": Param(100_000, type="integer", description="paths a row of the table"),
    "out": Param("/tmp/american-puts-deferred", type="string", description="folder for the results"),  # noqa: S108
}

with DAG("american_puts_deferred", schedule=None, params=PARAMS, tags=["htcgrid"], doc_md=__doc__):
    submit = HTCGridSubmitOperator(
        task_id="submit",
        function="longstaff_schwartz.price",
        tasks=events,
        tasks_kwargs={"paths": "{{ params.paths }}"},
        wait_for_completion=False,
    )
    ended = HTCGridSessionSensor(task_id="ended", session=submit.output, deferrable=True)
    collect = HTCGridResultsOperator(task_id="collect", session=submit.output, result="{{ params.out }}/results.jsonl")
    ended >> collect
