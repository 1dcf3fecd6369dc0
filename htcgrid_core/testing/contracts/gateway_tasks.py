"""The contract of a gateway: the tasks of a session, with their results as they were encoded."""

from __future__ import annotations

import pickle

import pytest

from htcgrid_core.codecs.outcomes import decode_error
from htcgrid_core.codecs.tasks import TaskPage, decoded
from htcgrid_core.codecs.values import decode_json
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.gateway.protocol import Gateway
from htcgrid_core.testing.contracts.gateway_given import (
    FOR_EVER,
    GivenGateway,
    Work,
    done,
    seen,
    spec,
    spec_of,
    submitted,
)

COUNT = 40
EVENTS = [{"raise": f"no {number}"} if number % 10 == 7 else number for number in range(COUNT)]
FAILED = [number for number in range(COUNT) if number % 10 == 7]


class GatewayTasksContract(GivenGateway):
    """Every task is told once, by page, by index and by state."""

    def test_pages_tell_every_outcome_once(self, gateway: Gateway, work: Work) -> None:
        """With the agent that committed it, and cursors that grow."""
        record = done(gateway, EVENTS, work, of=spec(bundle_size=6))
        pages = list(gateway.pages(record))
        cursors = [page.cursor for page in pages]
        assert cursors == sorted(set(cursors))
        assert all(page.agent for page in pages)
        outcomes = [outcome for page in pages for outcome in page.outcomes]
        assert sorted(outcome.index for outcome in outcomes) == list(range(COUNT))
        assert sorted(outcome.index for outcome in outcomes if outcome.failed) == FAILED

    def test_pages_go_on_behind_a_cursor(self, gateway: Gateway, work: Work) -> None:
        """Whoever stops may go on there; behind the last there is nothing."""
        record = done(gateway, EVENTS, work, of=spec(bundle_size=6))
        first, *rest = gateway.pages(record)
        assert [page.cursor for page in gateway.pages(record, first.cursor)] == [page.cursor for page in rest]
        assert list(gateway.pages(record, rest[-1].cursor)) == []

    def test_outcomes_come_in_the_order_of_their_events(self, gateway: Gateway, work: Work) -> None:
        """Encoded, whoever reads them decodes."""
        record = done(gateway, EVENTS, work, of=spec(bundle_size=6))
        found = list(gateway.outcomes(record))
        assert [index for index, _ in found] == list(range(COUNT))
        for index, outcome in found:
            assert outcome is not None
            if index in FAILED:
                assert decode_error(outcome.payload).message == f"no {index}"
            else:
                assert decode_json(outcome.payload) == 2 * index

    @pytest.mark.parametrize("state", list(TaskState))
    def test_tasks_in_one_state(self, gateway: Gateway, work: Work, state: TaskState) -> None:
        """Of a session that is over they are COMPLETED or FAILED."""
        record = done(gateway, EVENTS, work)
        completed = [number for number in range(COUNT) if number not in FAILED]
        wanted = {TaskState.COMPLETED: completed, TaskState.FAILED: FAILED}.get(state, [])
        assert sorted(seen(gateway, record, state)) == wanted

    def test_tasks_with_all_that_is_known(self, gateway: Gateway, work: Work) -> None:
        """State, attempts, agent, error, and times."""
        tasks = seen(gateway, done(gateway, [1, {"raise": "no"}], work))
        assert (tasks[0].state, tasks[0].result, tasks[0].error) == (TaskState.COMPLETED, 2, None)
        assert tasks[1].error is not None
        assert (tasks[1].error.type, tasks[1].error.message) == ("ValueError", "no")
        assert all(task.attempts == 1 and task.agent and task.started_at for task in tasks.values())

    def test_tasks_that_wait_or_run(self, gateway: Gateway) -> None:
        """They have no outcome, and so no page."""
        record = submitted(gateway, [FOR_EVER] * 5)
        found = list(gateway.tasks(record))
        assert sorted(task.index for task in found if isinstance(task, TaskOutcome)) == list(range(5))
        assert list(gateway.pages(record)) == []
        assert not list(gateway.tasks(record, TaskState.COMPLETED))
        gateway.cancel(record.session_id, reason="the test is over")

    def test_one_task(self, gateway: Gateway, work: Work) -> None:
        """By its index, alone on its page."""
        record = done(gateway, EVENTS, work, of=spec(bundle_size=6))
        for index in (0, 7, COUNT - 1):
            page = gateway.task(record, index)
            assert isinstance(page, TaskPage)
            (task,) = decoded(spec_of(record), page)
            assert task.index == index
            assert task.state is (TaskState.FAILED if index in FAILED else TaskState.COMPLETED)
        for index in (-1, COUNT):
            with pytest.raises(InvalidInput):
                gateway.task(record, index)

    def test_one_task_that_has_not_ended(self, gateway: Gateway) -> None:
        """It is where it is."""
        record = submitted(gateway, [FOR_EVER])
        task = gateway.task(record, 0)
        assert isinstance(task, TaskOutcome)
        assert task.state in (TaskState.QUEUED, TaskState.RUNNING)
        gateway.cancel(record.session_id, reason="the test is over")

    def test_tasks_that_were_cut_short(self, gateway: Gateway, work: Work) -> None:
        """A session that failed early leaves the others CANCELLED."""
        record = done(gateway, [{"raise": "no"}, *[FOR_EVER] * 4], work, of=spec(bundle_size=1, max_failures=0))
        assert record.state is SessionState.FAILED
        assert sorted(seen(gateway, record, TaskState.CANCELLED)) == [1, 2, 3, 4]
        assert sorted(seen(gateway, record)) == list(range(5))
        assert [index for index, outcome in gateway.outcomes(record) if outcome is None] == [1, 2, 3, 4]
        task = gateway.task(record, 3)
        assert isinstance(task, TaskOutcome)
        assert task.state is TaskState.CANCELLED

    def test_events_as_they_were_sent(self, gateway: Gateway) -> None:
        """In their order, byte for byte."""
        sent = [b"1", b"[2]", b'{"three":3}']
        record = submitted(gateway, sent, sent=sent, of=spec(bundle_size=2))
        assert list(gateway.events(record)) == sent

    def test_pickles_pass_through(self, gateway: Gateway, work: Work) -> None:
        """Results of callables leave a gateway as they were pickled."""
        blob = gateway.put_callable(pickle.dumps(len))
        function = FunctionSpec(name="builtins:len", blob=blob, call="event")
        record = done(gateway, ["abc", ""], work, of=spec(function, codec="pickle"))
        payloads = [outcome.payload for _, outcome in gateway.outcomes(record) if outcome is not None]
        assert [pickle.loads(payload) for payload in payloads] == [3, 0]  # noqa: S301 - of a worker of this test
        assert [pickle.loads(event) for event in gateway.events(record)] == ["abc", ""]  # noqa: S301
