"""What happens when it goes wrong: a retry that runs only what failed, and a session that is cancelled.

It needs no other file.
"""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param

from htcgrid_airflow.operators import HTCGridCancelOperator, HTCGridSubmitOperator

PARAMS = {"out": Param("/tmp/cancel-and-retry", type="string", description="folder of the curves")}  # noqa: S108
CURRENCIES = ("EUR", "USD", "JPY", "GBP")


def trades(out: str) -> list[dict[str, Any]]:
    """A book of a hundred trades."""
    return [{"trade": number, "curve": str(Path(out, f"{CURRENCIES[number % 4]}.curve"))} for number in range(100)]


def price(event: dict[str, Any]) -> float:
    """Price a trade with its currency's curve; without the curve it fails, as often as it is tried."""
    return float(event["trade"] * float(Path(event["curve"]).read_text()))


def publish(out: str, currencies: tuple[str, ...]) -> None:
    """Publish curves."""
    Path(out).mkdir(parents=True, exist_ok=True)
    for currency in currencies:
        Path(out, f"{currency}.curve").write_text("0.97")


def first_three(context: Any) -> None:
    """In the first try the curve of the pound is late."""
    publish(context["params"]["out"], CURRENCIES[:3])


def the_late_one(context: Any) -> None:
    """It arrives before the second try."""
    publish(context["params"]["out"], CURRENCIES[3:])


def sleep(event: float) -> None:
    """A task that nobody will wait for."""
    time.sleep(event)


with DAG("cancel_and_retry", schedule=None, params=PARAMS, tags=["htcgrid"], doc_md=__doc__):
    book = HTCGridSubmitOperator(
        task_id="book",
        function=price,
        tasks=trades,
        tasks_kwargs={"out": "{{ params.out }}"},
        retry={"max_attempts": 1},  # of a task on the grid; Airflow's own retry runs what failed
        retries=1,
        retry_delay=timedelta(seconds=1),
        on_execute_callback=lambda context: first_three(context) if context["ti"].try_number == 1 else None,
        on_retry_callback=the_late_one,
        result="inline",
    )
    start = HTCGridSubmitOperator(task_id="start", function=sleep, tasks=[60.0] * 20, wait_for_completion=False)
    cancel = HTCGridCancelOperator(task_id="cancel", session=start.output, reason="the desk has changed its mind")
