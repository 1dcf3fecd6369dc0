"""The sensor, the operators beside submit, the decorator and the link."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from htcgrid_airflow.decorators import HTCGridDecoratedOperator
from htcgrid_airflow.links import HTCGridSessionLink
from htcgrid_airflow.operators import HTCGridCancelOperator, HTCGridResultsOperator, HTCGridSubmitOperator
from htcgrid_airflow.sensors import HTCGridSessionSensor
from htcgrid_core import (
    CredentialsExpired,
    Grid,
    GridError,
    GridUnavailable,
    InvalidInput,
    RetryPolicy,
    Session,
    SessionFailed,
    SessionNotFinished,
    SessionNotFound,
    SessionState,
)
from tests.airflow.handlers import hold, no_thirteen, scaled, triple
from tests.airflow.steps import Step

ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def held(grid: Grid, tmp_path: Path) -> Iterator[Session]:
    """A session that runs until the test opens its gate."""
    session = grid.submit(hold, [{"number": 7, "gate": str(tmp_path / "gate")}])
    yield session
    session.cancel("the test is over")


@pytest.fixture
def failed(grid: Grid) -> Session:
    """A session of which one task in twenty failed."""
    session = grid.submit(no_thirteen, range(20), retry=ONCE)
    session.wait(60)
    return session


# Sensor


def sensor(url: str, session: Any, **arguments: Any) -> HTCGridSessionSensor:
    """A quick one."""
    return HTCGridSessionSensor(task_id="wait", grid=url, session=session, **{"poke_interval": 0.1, **arguments})


def test_the_sensor_pokes(grid_url: str, held: Session, tmp_path: Path) -> None:
    waiting = sensor(grid_url, {"session_id": held.id})
    assert waiting.poke(Step().context()) is False
    opening = threading.Timer(0.5, (tmp_path / "gate").touch)
    opening.start()
    assert waiting.execute(Step().context())["completed"] == 1


@pytest.mark.parametrize("trouble", [GridUnavailable, CredentialsExpired])
def test_the_sensor_pokes_a_grid_that_is_away(
    grid_url: str, held: Session, trouble: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, answers = Session.done, iter([trouble("for now")] * 3)

    def done(self: Session) -> bool:
        for answer in answers:
            raise answer
        return real(self)

    monkeypatch.setattr(Session, "done", done)
    (tmp_path / "gate").touch()
    assert sensor(grid_url, held.id).execute(Step().context())["completed"] == 1
    assert next(answers, None) is None


def test_the_sensor_reschedules(grid_url: str, held: Session) -> None:
    context = Step().context()
    context["ti"].get_first_reschedule_date = lambda _: None
    with pytest.raises(BaseException) as rescheduled:  # noqa: PT011 - named elsewhere in Airflow 3.1
        sensor(grid_url, held.id, mode="reschedule").execute(context)
    assert type(rescheduled.value).__name__ == "AirflowRescheduleException"


def test_the_sensor_defers_and_resumes(grid_url: str, held: Session, tmp_path: Path) -> None:
    waiting = sensor(grid_url, held.id, deferrable=True, timeout=600)
    with pytest.raises(TaskDeferred) as deferred:
        waiting.execute(Step().context())
    trigger: Any = deferred.value.trigger
    assert (trigger.session_id, trigger.cancel_on_kill) == (held.id, False)
    assert deferred.value.timeout == timedelta(seconds=600)
    (tmp_path / "gate").touch()
    held.wait(60)
    event = {"status": "ended", "session_id": held.id, "message": ""}
    assert waiting.execute_complete(Step().context(), event)["state"] == "COMPLETED"


def test_the_sensor_does_not_defer_for_what_has_ended(grid_url: str, grid: Grid) -> None:
    session = grid.submit(triple, [1])
    session.wait(60)
    assert sensor(grid_url, session.id, deferrable=True).execute(Step().context())["completed"] == 1


def test_who_is_soon_over_does_not_defer(
    grid_url: str, held: Session, grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two starts of a worker cost more than its wait, and Airflow may take a task for killed that resumes at once."""
    monkeypatch.setenv("AIRFLOW__HTCGRID__DEFER_AFTER", "60")
    opening = threading.Timer(0.5, (tmp_path / "gate").touch)
    opening.start()
    assert sensor(grid_url, held.id, deferrable=True).execute(Step().context())["completed"] == 1
    submit = HTCGridSubmitOperator(task_id="fan_out", grid=grid_url, function=triple, tasks=[1, 2], deferrable=True)
    assert submit.execute(Step().context())["completed"] == 2


def test_the_sensor_of_a_failed_session(grid_url: str, failed: Session) -> None:
    with pytest.raises(SessionFailed, match="1 of 20 tasks failed"):
        sensor(grid_url, failed.id).execute(Step().context())
    assert sensor(grid_url, failed.id, failure_policy=0.1).execute(Step().context())["failed"] == 1


def test_the_sensor_of_a_session_that_is_gone(grid_url: str) -> None:
    with pytest.raises(SessionNotFound):
        sensor(grid_url, "t-" + "0" * 24).execute(Step().context())
    event = {"status": "missing", "session_id": "t-1", "message": "session t-1 does not exist on its grid any more"}
    with pytest.raises(GridError, match="does not exist"):
        sensor(grid_url, "t-1", deferrable=True).execute_complete(Step().context(), event)


# Results and cancel


def test_results_to_a_path(grid_url: str, failed: Session, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    operator = HTCGridResultsOperator(
        task_id="collect", grid=grid_url, session=failed.id, result=str(path), failure_policy="never"
    )
    assert operator.execute(Step().context())["results"] == str(path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[12:15] == [12, {"error": {"index": 13, "type": "ValueError", "message": "13 is no good"}}, 14]


def test_results_to_xcom(grid_url: str, failed: Session) -> None:
    operator = HTCGridResultsOperator(task_id="collect", grid=grid_url, session=failed.id, failure_policy=1)
    assert operator.execute(Step().context())[12:15] == [12, None, 14]


def test_results_reduced(grid: Grid, grid_url: str) -> None:
    session = grid.submit(no_thirteen, range(20), retry=ONCE, max_failures=1)
    session.wait(60)

    def reducing(names: Any, of: str | None = None) -> HTCGridResultsOperator:
        return HTCGridResultsOperator(
            task_id="reduce", grid=grid_url, session=session.id, failure_policy=1, reduce=names, reduce_of=of
        )

    with pytest.warns(UserWarning, match="13 is no good"):
        assert reducing(["count", "bottom:2"]).execute(Step().context()) == {"count": 19, "bottom:2": [0, 1]}
    for names, of, why in (("median", None, "'median' is no reducer"), (None, "value", "belongs to reduce=")):
        with pytest.raises(InvalidInput, match=why):
            reducing(names, of).execute(Step().context())


def test_results_of_a_session_that_failed_or_runs(grid_url: str, failed: Session, held: Session) -> None:
    with pytest.raises(SessionFailed):
        HTCGridResultsOperator(task_id="collect", grid=grid_url, session=failed.id).execute(Step().context())
    with pytest.raises(SessionNotFinished, match="HTCGridSessionSensor"):
        HTCGridResultsOperator(task_id="collect", grid=grid_url, session=held.id).execute(Step().context())


def test_cancel(grid_url: str, held: Session) -> None:
    operator = HTCGridCancelOperator(task_id="end", grid=grid_url, session=held.id, reason="enough")
    manifest = operator.execute(Step().context())
    assert (manifest["state"], manifest["cancelled"]) == ("CANCELLED", 1)
    assert held.progress().reason == "enough"


def test_what_names_no_session(grid_url: str) -> None:
    with pytest.raises(InvalidInput, match="names no session"):
        HTCGridCancelOperator(task_id="end", grid=grid_url, session=None).execute(Step().context())


# Decorator


def decorated(url: str, function: Any, over: Any, *args: Any, **arguments: Any) -> HTCGridDecoratedOperator:
    """What ``@task.htcgrid`` makes."""
    kwargs = arguments.pop("op_kwargs", {})
    return HTCGridDecoratedOperator(
        task_id="price", grid=url, python_callable=function, over=over, op_args=args, op_kwargs=kwargs, **arguments
    )


TRADES = [{"notional": 100, "currency": "EUR"}, {"notional": 200, "currency": "USD"}]
CURVES = {"EUR": 0.5, "USD": 0.25}


def test_the_decorated_function_runs_over_one_argument(grid_url: str) -> None:
    operator = decorated(grid_url, scaled, "trade", TRADES, CURVES, op_kwargs={"factor": 2.0})
    assert operator.execute(Step().context()) == [100.0, 100.0]


def test_shared_arguments_are_stored_once(grid_url: str, grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[Any] = []
    real = Grid.put

    def put(self: Grid, value: Any, **options: Any) -> Any:
        stored.append(value)
        return real(self, value, **options)

    monkeypatch.setattr(Grid, "put", put)
    assert decorated(grid_url, scaled, "trade", TRADES * 50, CURVES).execute(Step().context()) == [50.0, 50.0] * 50
    assert stored == [CURVES]


def test_over_a_file(grid_url: str, tmp_path: Path) -> None:
    path = tmp_path / "trades.jsonl"
    path.write_text("".join(json.dumps(trade) + "\n" for trade in TRADES))
    assert decorated(grid_url, scaled, "trade", str(path), CURVES).execute(Step().context()) == [50.0, 50.0]


def test_over_two_arguments_in_step(grid_url: str) -> None:
    operator = decorated(grid_url, lambda left, right: left - right, ("left", "right"), [5, 6], [1, 2])
    assert operator.execute(Step().context()) == [4, 4]


def test_over_an_argument_that_is_not_given(grid_url: str) -> None:
    with pytest.raises(InvalidInput, match="over='nothing': scaled is not given nothing"):
        decorated(grid_url, scaled, "nothing", TRADES, CURVES).execute(Step().context())


def seen(first: Any, /, second: Any = "no second", *more: Any, named: Any = "not named", **others: Any) -> Any:
    """What a function of parameters of all kinds is called with."""
    return [first, second, list(more), named, others]


@pytest.mark.parametrize(
    ("over", "args", "kwargs"),
    [
        ("first", ([1, 2],), {}),
        ("first", ([1, 2], "second", "third", "fourth"), {"named": 0, "other": 9}),
        ("second", ("first", [1, 2]), {"other": 9}),
        ("second", ("first",), {"second": [1, 2], "first": "among the others"}),
        ("named", ("first", "second", "third"), {"named": [1, 2]}),
        ("other", ("first",), {"other": [1, 2], "another": 9}),
        (("first", "other"), ([1, 2], "second"), {"other": [3, 4]}),
    ],
)
def test_a_function_is_called_as_its_step_was(grid_url: str, over: Any, args: Any, kwargs: Any) -> None:
    """As Airflow's own ``@task`` calls it, but with an item in the place of the vector."""
    names = (over,) if isinstance(over, str) else over
    places: dict[str, int] = {"first": 0, "second": 1}

    def called(at: int) -> Any:
        given, by_name = list(args), dict(kwargs)
        for name in names:
            into: Any = by_name if name in by_name and name != "first" else given
            into[name if into is by_name else places[name]] = (by_name.get(name) or args[places[name]])[at]
        return seen(*given, **by_name)

    operator = decorated(grid_url, seen, over, *args, op_kwargs=kwargs)
    assert operator.execute(Step().context()) == [called(0), called(1)]


def test_over_all_that_is_given_by_position(grid_url: str) -> None:
    operator = decorated(grid_url, lambda first, *more: [first, *more], "more", "first", 1, 2, 3)
    assert operator.execute(Step().context()) == [["first", 1], ["first", 2], ["first", 3]]


def test_over_a_default(grid_url: str) -> None:
    def shifted(by: int, number: Any = (1, 2)) -> Any:
        return number + by

    assert decorated(grid_url, shifted, "number", 10).execute(Step().context()) == [11, 12]


def test_a_wrapper_is_called_by_position_and_by_name_as_its_step_was(grid_url: str) -> None:
    def price(trade: Any, factor: Any) -> Any:
        return trade, factor

    @functools.wraps(price)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return [list(args), kwargs]

    operator = decorated(grid_url, wrapper, "trade", [1, 2], op_kwargs={"factor": 3})
    assert operator.execute(Step().context()) == [[[1], {"factor": 3}], [[2], {"factor": 3}]]


def test_a_call_that_the_function_does_not_take(grid_url: str) -> None:
    operator = decorated(grid_url, scaled, "trade", TRADES, CURVES)
    operator.op_args = [TRADES]
    with pytest.raises(InvalidInput, match="scaled cannot be called so: missing a required argument: 'curves'"):
        operator.execute(Step().context())


def test_the_decorated_step_retries_as_the_operator_does(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    def one_in_three(number: int, repaired: str) -> int:
        if number % 3 == 0 and not Path(repaired).exists():
            raise ValueError(f"{number} waits")
        return number

    step = Step(retries=1, max_tries=1)
    arguments: dict[str, Any] = {"retry": ONCE}
    repaired = tmp_path / "repaired"
    with pytest.raises(SessionFailed, match="2 of 6"):
        decorated(grid_url, one_in_three, "number", range(6), str(repaired), **arguments).execute(step.context())
    repaired.touch()
    again = decorated(grid_url, one_in_three, "number", range(6), str(repaired), **arguments)
    assert again.execute(step.retried().context()) == [0, 1, 2, 3, 4, 5]
    second = grid.sessions(labels={"airflow.run": step.run_id})[0]
    assert (second.progress().total, second.progress().state) == (2, SessionState.COMPLETED)


# Link


def test_the_link_leads_to_the_page_of_the_task() -> None:
    key: Any = SimpleNamespace(dag_id="dag", run_id="manual__2026-11-20T06:00:00+00:00", task_id="a.b", map_index=3)
    operator = HTCGridSubmitOperator(task_id="b", function=triple, tasks=[])
    (link,) = operator.operator_extra_links
    assert isinstance(link, HTCGridSessionLink)
    url = link.get_link(operator, ti_key=key)
    assert "/htcgrid/task?dag_id=dag&run_id=manual__2026-11-20T06%3A00%3A00%2B00%3A00&task_id=a.b&map_index=3" in url
