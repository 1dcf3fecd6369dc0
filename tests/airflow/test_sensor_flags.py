"""What Airflow's sensors promise of their flags, in each way of waiting: poke, reschedule and deferrable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSensorTimeout, AirflowSkipException

from htcgrid_airflow.compat import AirflowTaskTimeout
from htcgrid_airflow.sensors import HTCGridSessionSensor
from htcgrid_airflow.triggers.poller import Missing, Subscription
from htcgrid_core import Grid, GridError, GridUnavailable, RetryPolicy, Session, SessionFailed, SessionNotFound
from tests.airflow.handlers import hold, no_thirteen
from tests.airflow.steps import Step

WAYS: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
LONG_AGO = timedelta(hours=1)


class Waited(Exception):
    """The sensor goes on waiting, in its own way."""


@pytest.fixture
def failed(grid: Grid) -> Session:
    """A session of which one task failed."""
    session = grid.submit(no_thirteen, [13], retry=RetryPolicy(max_attempts=1))
    session.wait(60)
    return session


@pytest.fixture
def held(grid: Grid, tmp_path: Path) -> Iterator[Session]:
    """A session that runs."""
    session = grid.submit(hold, [{"number": 7, "gate": str(tmp_path / "gate")}])
    yield session
    session.cancel("the test is over")


def step(began_ago: timedelta = timedelta(0)) -> Any:
    """A context of a try that began so long ago."""
    context = Step().context()
    began = datetime.now(UTC) - began_ago
    context["ti"].start_date = began
    context["ti"].get_first_reschedule_date = lambda _: began if began_ago else None
    return context


def sensor(way: str, url: str, session: Any, **flags: Any) -> HTCGridSessionSensor:
    arguments = {"poke_interval": 0.05, "timeout": 600, **WAYS[way], **flags}
    return HTCGridSessionSensor(task_id="wait", grid=url, session=session, **arguments)


def outcome(monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]) -> Any:
    """What became of a call; that it goes on waiting is one thing, however it does that."""

    def sleep(_: float) -> None:
        raise Waited

    monkeypatch.setattr("airflow.sdk.bases.sensor.time.sleep", sleep)
    try:
        return call()
    except (Waited, AirflowRescheduleException, TaskDeferred):
        return Waited
    except BaseException as error:
        return type(error)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, SessionFailed),
        ({"soft_fail": True}, SessionFailed),  # of timeouts, as of all of Airflow's sensors
        ({"never_fail": True}, AirflowSkipException),
        ({"silent_fail": True}, Waited),
    ],
)
def test_a_session_that_failed(
    grid_url: str, failed: Session, monkeypatch: pytest.MonkeyPatch, way: str, flags: dict[str, Any], expected: Any
) -> None:
    waiting = sensor(way, grid_url, failed.id, **flags)
    assert outcome(monkeypatch, lambda: waiting.execute(step())) is expected
    if way == "deferrable":
        event = {"status": "ended", "session_id": failed.id, "message": ""}
        found = outcome(monkeypatch, lambda: waiting.resume_execution("execute_complete", {"event": event}, step()))
        assert found is expected


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("flags", "expected"),
    [({}, SessionNotFound), ({"never_fail": True}, AirflowSkipException), ({"silent_fail": True}, Waited)],
)
def test_a_session_that_is_not_there(
    grid_url: str, monkeypatch: pytest.MonkeyPatch, way: str, flags: dict[str, Any], expected: Any
) -> None:
    session_id = "t-" + "0" * 24
    waiting = sensor(way, grid_url, session_id, **flags)
    assert outcome(monkeypatch, lambda: waiting.execute(step())) is expected
    if way == "deferrable":
        event = {"status": "missing", "session_id": session_id, "message": "it does not exist any more"}
        found = outcome(monkeypatch, lambda: waiting.resume_execution("execute_complete", {"event": event}, step()))
        assert found is (GridError if expected is SessionNotFound else expected)


@pytest.mark.parametrize("way", WAYS)
def test_a_grid_that_is_away_is_waited_for(grid_url: str, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    def away(*_: Any) -> Any:
        raise GridUnavailable("the store does not answer")

    monkeypatch.setattr(Grid, "session", away)
    waiting = sensor(way, grid_url, "s-away")
    assert outcome(monkeypatch, lambda: waiting.execute(step())) is Waited


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("flags", "expected"), [({}, AirflowSensorTimeout), ({"soft_fail": True}, AirflowSkipException)]
)
def test_the_timeout_is_over(
    grid_url: str, held: Session, monkeypatch: pytest.MonkeyPatch, way: str, flags: dict[str, Any], expected: Any
) -> None:
    waiting = sensor(way, grid_url, held.id, **{"timeout": 0, **flags})
    assert outcome(monkeypatch, lambda: waiting.execute(step(LONG_AGO))) is expected
    if way == "deferrable":
        over = {"error": "Trigger timeout"}
        assert outcome(monkeypatch, lambda: waiting.resume_execution("__fail__", over, step())) is expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, AirflowTaskTimeout),
        ({"soft_fail": True}, AirflowSkipException),
        ({"never_fail": True}, AirflowSkipException),
    ],
)
def test_the_execution_timeout_is_over_while_it_is_deferred(
    grid_url: str, held: Session, monkeypatch: pytest.MonkeyPatch, flags: dict[str, Any], expected: Any
) -> None:
    """Where it pokes Airflow interrupts it; a deferred one only if it says so when it defers."""
    limit = timedelta(seconds=60)
    waiting = sensor("deferrable", grid_url, held.id, execution_timeout=limit, **flags)
    with pytest.raises(TaskDeferred) as deferred:
        waiting.execute(step(timedelta(seconds=20)))
    assert timedelta(0) < deferred.value.timeout <= limit - timedelta(seconds=20)
    over = {"error": "Trigger timeout"}
    assert outcome(monkeypatch, lambda: waiting.resume_execution("__fail__", over, step())) is expected
    assert outcome(monkeypatch, lambda: waiting.execute(step(LONG_AGO))) is expected


def test_the_first_of_both_limits_counts(grid_url: str, held: Session) -> None:
    for timeout, limit, expected in ((30, 60, 30), (60, 30, 30), (30, None, 30)):
        execution_timeout = None if limit is None else timedelta(seconds=limit)
        waiting = sensor("deferrable", grid_url, held.id, timeout=timeout, execution_timeout=execution_timeout)
        with pytest.raises(TaskDeferred) as deferred:
            waiting.execute(Step().context())
        assert deferred.value.timeout == timedelta(seconds=expected)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, [3.0, 3.0, 3.0, 3.0]),
        ({"max_wait": 10}, [3.0, 3.0, 3.0, 3.0]),
        ({"exponential_backoff": True}, [3.0, 6.0, 12.0, 24.0]),
        ({"exponential_backoff": True, "max_wait": 10}, [3.0, 6.0, 10.0, 10.0]),
        ({"exponential_backoff": True, "max_wait": timedelta(seconds=7)}, [3.0, 6.0, 7.0, 7.0]),
    ],
)
def test_pauses_between_looks_of_the_triggerer(
    grid_url: str, held: Session, flags: dict[str, Any], expected: list[float]
) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        sensor("deferrable", grid_url, held.id, poke_interval=3, **flags).execute(step())
    trigger: Any = deferred.value.trigger
    arguments = trigger.serialize()[1]
    assert ("longest_interval" in arguments) == ("exponential_backoff" in flags), "an older triggerer knows it not"
    subscription = Subscription(held.id, trigger.poll_interval, lambda _: None, trigger.longest_interval)
    pauses = []
    for _ in expected:
        pauses.append(subscription.interval)
        subscription.tell(Missing())
        subscription.looked()
    assert pauses == expected
