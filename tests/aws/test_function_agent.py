"""The agent as a function: bundles by the messages of an event, within the function's time, and nothing lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, InvalidInput, RetryPolicy, Session, TaskFailed, UnknownGrid, connect
from htcgrid_core.adapters.aws.sqs.messages import BELL
from htcgrid_core.cloud import function_agent
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.function_agent import FunctionAgent, Times
from htcgrid_core.cloud.given_messages import given_in
from htcgrid_core.cloud.plane import CloudPlane, open_cloud
from htcgrid_core.domain.destination import Destination
from htcgrid_core.services.reconcile import reconcile
from tests.aws.emulators import Account
from tests.aws.function_agents import Context, Mapping, event_of, mapping_of
from tests.aws.grids import CloudUnderTest, cloud

HANDLERS = "tests.e2e.handlers"
GUARD_SECONDS = 60.0


@pytest.fixture(scope="module")
def aws_cloud(ministack_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudUnderTest]:
    """One grid for all tests: each one's sessions are its own, and messages of those that are over mean nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTCGRID_LEASE_SECONDS", "3")
        with cloud(Account(ministack_url), tmp_path_factory.mktemp("grid"), patch, "default") as found:
            yield found


@pytest.fixture(scope="module")
def aws_grid(aws_cloud: CloudUnderTest) -> Iterator[Grid]:
    """A connection to it."""
    with connect(aws_cloud.url) as grid:
        yield grid


@pytest.fixture(scope="module")
def served(aws_cloud: CloudUnderTest) -> Iterator[CloudPlane]:
    """The grid, as a function sees it; leases are short."""
    found = open_cloud(parse_aws(aws_cloud.url))
    yield found
    found.close()


@pytest.fixture
def mapping(aws_cloud: CloudUnderTest, served: CloudPlane) -> Iterator[Mapping]:
    """A function with a minute."""
    found = mapping_of(aws_cloud.account, served)
    yield found
    found.agent.close()


def _run(mapping: Mapping, served: CloudPlane, is_over: Callable[[], bool]) -> None:
    """Invoke until it is over, with the reconciler's ticks between."""
    deadline = time.monotonic() + GUARD_SECONDS
    while not is_over():
        assert time.monotonic() < deadline, f"not over; invocations were {mapping.answers}"
        if not mapping.once():
            reconcile(served.plane, 1.0)


def test_a_session(aws_grid: Grid, mapping: Mapping, served: CloudPlane) -> None:
    """Its agent and workers live on between invocations."""
    session = aws_grid.submit(f"{HANDLERS}.where", range(40), bundle_size=10)
    _run(mapping, served, session.done)
    assert session.progress().completed == 40
    assert len({result["pid"] for result in session.results()}) <= 2
    assert {undone for _, undone in mapping.answers} == {0}


@pytest.mark.parametrize("batch", [1, 10])
def test_what_does_not_fit_is_handed_back(
    aws_cloud: CloudUnderTest, aws_grid: Grid, served: CloudPlane, batch: int
) -> None:
    """In time, by a commit: what ran is not lost, what runs runs again, and no attempt and no crash is counted."""
    mapping = mapping_of(aws_cloud.account, served, seconds=4.0, batch=batch)
    session = aws_grid.submit(f"{HANDLERS}.sleep", [{"seconds": 0.25}] * 30, bundle_size=10)
    _run(mapping, served, session.done)
    mapping.agent.close()
    assert session.progress().completed == 30
    assert max(task.attempts for task in session.tasks()) == 1
    assert max(mapping.took) < 4.0
    assert len(mapping.took) > 1


def test_a_task_that_never_fits_fails(aws_cloud: CloudUnderTest, aws_grid: Grid, served: CloudPlane) -> None:
    """Instead of being handed back for ever."""
    mapping = mapping_of(aws_cloud.account, served, seconds=4.0)
    events = [{"seconds": 60}, {"seconds": 0.01}]
    session = aws_grid.submit(
        f"{HANDLERS}.sleep", events, max_failures=1, retry=RetryPolicy(max_attempts=2, backoff_base_seconds=0.01)
    )
    _run(mapping, served, session.done)
    mapping.agent.close()
    failed, well = session.results(errors="return")
    assert isinstance(failed, TaskFailed)
    assert "Task timed out after 2.4 seconds" in str(failed)
    assert not isinstance(well, TaskFailed)


def test_a_handler_that_crashes_ends_its_worker_alone(aws_grid: Grid, mapping: Mapping, served: CloudPlane) -> None:
    session = aws_grid.submit(
        f"{HANDLERS}.misbehave", [{"n": 0, "how": "exit"}, {"n": 1}], max_failures=1, retry=RetryPolicy(max_attempts=1)
    )
    _run(mapping, served, session.done)
    assert (session.progress().completed, session.progress().failed) == (1, 1)


def test_an_invocation_that_dies_loses_nothing(
    aws_cloud: CloudUnderTest, aws_grid: Grid, mapping: Mapping, served: CloudPlane
) -> None:
    """Its lease lapses, its message comes again, and another one runs the bundle."""
    session = aws_grid.submit(f"{HANDLERS}.double", range(8), bundle_size=4)
    dead = mapping_of(aws_cloud.account, served)

    def die(context: object) -> None:
        agent = dead.agent._new_agent()
        while not agent.leases:
            agent.step()
        raise KeyboardInterrupt

    dead.agent._work = die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        _run(dead, served, session.done)
    _run(mapping, served, session.done)
    dead.agent.close()
    assert list(session.results()) == [2 * number for number in range(8)]


def test_messages_that_mean_nothing_are_deleted(mapping: Mapping) -> None:
    """Bells, and what none of us wrote, start no agent."""
    for body in (BELL, "nonsense", json.dumps({"session": "../x", "bundle": "1"})):
        mapping.account.sqs().send_message(QueueUrl=mapping.queues.normal, MessageBody=body)
    mapping.batch = 10
    while mapping.once():
        pass
    assert {undone for _, undone in mapping.answers} == {0}
    assert mapping.agent._agent is None


def test_a_stale_message_costs_no_wait(aws_grid: Grid, mapping: Mapping, served: CloudPlane) -> None:
    """Of a bundle that is done: it is deleted, and the function returns long before an agent's next poll."""
    session = aws_grid.submit(f"{HANDLERS}.double", [1, 2])
    sqs, url = mapping.account.sqs(), mapping.queues.normal
    found: Any = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0, WaitTimeSeconds=0, MaxNumberOfMessages=10)
    event = event_of(mapping.account, url, found["Messages"])
    _run(mapping, served, session.done)
    steps = 0
    agent = mapping.agent._agent
    assert agent is not None
    step = agent.step

    def counted() -> None:
        nonlocal steps
        steps += 1
        step()

    agent.step = counted  # type: ignore[method-assign]
    assert mapping.agent.run(given_in(event), Context(60.0)) == []
    assert steps <= 2


def test_other_tenants_are_left_to_others(
    aws_cloud: CloudUnderTest, aws_grid: Grid, served: CloudPlane, mapping: Mapping
) -> None:
    """Their handlers would share the sandbox, and its role."""
    theirs = aws_grid.submit(f"{HANDLERS}.double", [1], tenant="desk")
    assert mapping.once()
    while mapping.once():
        pass
    assert not theirs.done()
    assert (1, 1) in mapping.answers
    own = mapping_of(aws_cloud.account, served, tenant="desk")
    _run(own, served, theirs.done)
    own.agent.close()
    assert list(theirs.results()) == [2]


def test_a_queue_of_another_pool(mapping: Mapping) -> None:
    event = event_of(mapping.account, "http://x/1/others", [{"MessageId": "1", "ReceiptHandle": "x", "Body": BELL}])
    with pytest.raises(InvalidInput, match="serves pool 'default', and queue 'others'"):
        mapping.agent.run(given_in(event), Context(60.0))


def test_a_pool_that_is_not_there(served: CloudPlane) -> None:
    with pytest.raises(UnknownGrid, match="no pool 'fast'"):
        FunctionAgent(served, "fast", "default", 1, Times.of(60.0))


def test_whoever_is_to_be_told_is(aws_grid: Grid, mapping: Mapping, served: CloudPlane) -> None:
    """By the invocation that ended the session."""
    url = mapping.account.sqs().create_queue(QueueName="ends")["QueueUrl"]
    arn = f"arn:aws:sqs:eu-west-1:{mapping.account.id}:ends"
    aws_grid.gateway.add_destination(Destination(name="ends", target=arn))
    session = aws_grid.submit(f"{HANDLERS}.double", [1], notify="ends")
    _run(mapping, served, session.done)
    (message,) = mapping.account.sqs().receive_message(QueueUrl=url)["Messages"]
    assert json.loads(message["Body"])["subject"] == session.id


def test_what_is_no_event() -> None:
    wrong: Any
    for wrong in ({}, {"Records": [{}]}, {"Records": None}, []):
        with pytest.raises(InvalidInput, match="no event of a queue's mapping"):
            given_in(wrong)


def test_a_function_that_is_not_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function_agent, "_agents", [])
    monkeypatch.setattr(function_agent, "configure", lambda **_: None)
    monkeypatch.setattr(function_agent, "hide", lambda: None)
    monkeypatch.delenv("HTCGRID_URL", raising=False)
    with pytest.raises(InvalidInput, match="Set HTCGRID_URL"):
        function_agent.handler({"Records": []}, Context(60.0))


@pytest.mark.parametrize(
    ("variables", "slots"),
    [
        ({}, 1),
        ({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512"}, 1),
        ({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "10240"}, 5),
        ({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "10240", "HTCGRID_SLOTS": "12"}, 12),
    ],
)
def test_slots(variables: dict[str, str], slots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "HTCGRID_SLOTS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert function_agent._slots() == slots
    monkeypatch.setenv("HTCGRID_SLOTS", "0")
    with pytest.raises(InvalidInput, match="HTCGRID_SLOTS"):
        function_agent._slots()


@pytest.mark.parametrize("seconds", [3.0, 60.0, 900.0])
def test_how_a_function_divides_its_time(seconds: float) -> None:
    """A task that is begun in the first tenth is over before it would be handed back."""
    times = Times.of(seconds)
    assert 0.1 * seconds + times.task + times.grace + times.spare <= seconds
    assert times.spare >= 0.4


def test_what_it_may_do_is_what_it_does(
    aws_grid: Grid, mapping: Mapping, served: CloudPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call of its clients is among the permissions beside it."""
    page = Path(function_agent.__file__).with_name("function_agent_permissions.json")
    allowed = {action for one in json.loads(page.read_text())["statements"] for action in one["actions"]}
    made: set[str] = set()
    for service in ("dynamodb", "s3", "sqs"):
        client = getattr(served.clients, service)

        def note(operation_name: str, service: str = service, **_: Any) -> None:
            made.update(_actions(service, operation_name))

        client.meta.events.register("request-created.*.*", note)
    large = ["x" * 9000] * 12
    session: Session = aws_grid.submit(f"{HANDLERS}.echo", large, bundle_size=4)
    failing = aws_grid.submit(f"{HANDLERS}.fail_odd", range(4), retry=RetryPolicy(max_attempts=2))
    _run(mapping, served, lambda: session.done() and failing.done())
    assert made >= {"dynamodb:UpdateItem", "s3:PutObject", "sqs:SendMessage"}, made
    assert made <= allowed


def _actions(service: str, operation: str) -> list[str]:
    """What IAM wants for a call."""
    if operation.startswith("Transact"):
        return ["dynamodb:PutItem", "dynamodb:UpdateItem"]
    return [f"{service}:{operation.removesuffix('Batch') if service == 'sqs' else operation}"]
