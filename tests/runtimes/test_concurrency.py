"""Several invocations in one environment, by hand: who is given what, and what the end of one costs the others."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from htcgrid_core.agent.workers.runtime_api import commands
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.domain import limits
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.worker import STOPPED, Chunk, Flushed, LoadFailed, WorkerLost
from tests.runtimes.clients import VERSION, Answer, Host, hosted
from tests.runtimes.test_protocol import error_of, result_of
from tests.runtimes.test_sidecars import Client

NEXT = f"{VERSION}/invocation/next"
SHARED = {"concurrency": 2}
TIMEOUT = TaskError("TaskTimeout", "Task timed out after 1 seconds")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Three slots; two invocations at once in an environment, whose clients the test plays."""
    with hosted(tmp_path, slots=3) as host:
        yield host


def run(host: Host, slot: int, *values: object) -> Chunk:
    return host.run(values, slot=slot, package_options=SHARED, first_index=100 * slot)


def asked(host: Host) -> Future[Answer]:
    """A client of one connection that asks for a task."""
    return host.ask("GET", NEXT)


def given(host: Host, client: Future[Answer]) -> Answer:
    host.until(client.done, "it is given a task")
    return client.result()


def outcomes(host: Host, count: int) -> dict[int, list[Outcome]]:
    """The next outcomes, by slot."""
    found: dict[int, list[Outcome]] = {}

    def all_there() -> bool:
        events = [event for event in host.events if isinstance(event, Flushed)]
        return sum(len(event.outcomes) for event in events) >= count

    host.until(all_there, f"{count} outcomes")
    for event in [event for event in host.events if isinstance(event, Flushed)]:
        host.events.remove(event)
        found.setdefault(event.slot, []).extend(event.outcomes)
    return found


def losses(host: Host, count: int) -> dict[int, WorkerLost]:
    """What slots lost, by slot."""
    lost = [host.first(WorkerLost) for _ in range(count)]
    return {event.slot: event for event in lost}


def test_slots_share_an_environment_up_to_its_concurrency(host: Host) -> None:
    for slot in range(3):
        run(host, slot, f"of slot {slot}")
    first, second, third = (host.worker(slot).pid for slot in range(3))
    assert first == second != third
    environment = commands.environment(host.pool._sandboxes[0].function, "")
    assert environment["AWS_LAMBDA_MAX_CONCURRENCY"] == "2"
    assert environment["AWS_LAMBDA_INITIALIZATION_TYPE"] == "lambda-managed-instances"
    ports = host.until(lambda: len(host.ports()) == 2 and host.ports(), "two environments") or []
    told = [ask.result().body for ask in _answered(host, [host.ask("GET", NEXT, address=ports[0]) for _ in range(2)])]
    assert sorted(told) == [b'"of slot 0"', b'"of slot 1"']


def _answered(host: Host, asks: list[Future[Answer]]) -> list[Future[Answer]]:
    host.until(lambda: all(ask.done() for ask in asks), "they are answered")
    return asks


def test_invocations_are_answered_in_any_order_each_for_its_own_slot(host: Host) -> None:
    run(host, 0, 10, 11)
    run(host, 1, 20)
    clients = [given(host, asked(host)) for _ in range(2)]
    waiting = asked(host)  # more clients than invocations at once
    assert [client.body for client in clients] == [b"10", b"20"]
    assert host.pool.running(0)[1] == host.pool.running(1)[1] == 0  # type: ignore[index]  # just given
    assert not waiting.done()
    for client in reversed(clients):
        assert host.respond(client.request_id, json.loads(client.body) + 1).status == 202
    assert given(host, waiting).body == b"11"
    host.respond(waiting.result().request_id, 12)
    found = outcomes(host, 3)
    assert [[result_of(outcome) for outcome in found[slot]] for slot in (0, 1)] == [[11, 12], [21]]


def test_no_more_at_once_than_its_concurrency_however_many_clients_wait(host: Host) -> None:
    run(host, 0, *range(5))
    run(host, 1, *range(5))
    clients = [asked(host) for _ in range(5)]
    host.until(lambda: sum(client.done() for client in clients) == 2, "two are given a task")
    for _ in range(20):
        host.events += host.pool.wait(0.005)
    assert sum(client.done() for client in clients) == 2


def test_over_its_time_ends_the_environment_and_charges_nobody_else(host: Host) -> None:
    first, second = run(host, 0, 10, 11), run(host, 1, 20, 21)
    for _ in range(2):
        given(host, asked(host))
    before = host.worker(0).pid
    host.pool.kill(1, TIMEOUT)
    lost = losses(host, 2)
    assert (lost[1].running, lost[1].error) == ((second.serial, 0), TIMEOUT)
    assert (lost[0].running, lost[0].error.type) == ((first.serial, 0), STOPPED)
    assert host.pool.running(0) is host.pool.running(1) is None
    run(host, 0, 10, 11)
    assert host.worker(0).pid != before


def test_what_slots_wait_for_goes_on_in_the_next_environment(host: Host) -> None:
    """A slot that was between tasks loses nothing, and hears nothing."""
    run(host, 0, 10)
    given(host, asked(host))
    run(host, 1, 20)  # no client is left for it
    host.pool.kill(0, TIMEOUT)
    assert set(losses(host, 1)) == {0}
    told = host.next(address=host.until(lambda: len(host.ports()) == 2 and host.ports(), "another one")[-1])  # type: ignore[index]
    assert told.body == b"20"
    assert not host.events


def test_a_slot_that_only_waits_is_given_up_without_an_end(host: Host) -> None:
    run(host, 0, 10)
    told = given(host, asked(host))
    run(host, 1, 20)  # no client is left for it
    host.pool.kill(1, TaskError(STOPPED, "its session has ended"))
    assert losses(host, 1)[1].running is None
    assert host.respond(told.request_id, "done").status == 202
    assert result_of(outcomes(host, 1)[0][0]) == "done"
    run(host, 1, 21)
    assert host.next().body == b"21"


def test_an_unexplained_end_charges_nobody_and_then_each_runs_alone(host: Host) -> None:
    """So that the one that ends environments is found, and is charged alone."""
    run(host, 0, "innocent")
    run(host, 1, "guilty")
    for _ in range(2):
        given(host, asked(host))
    os.killpg(host.worker(0).pid, signal.SIGKILL)
    assert {slot: event.error.type for slot, event in losses(host, 2).items()} == {0: STOPPED, 1: STOPPED}
    again = run(host, 0, "innocent")
    guilty = run(host, 1, "guilty")
    ports = host.until(lambda: len(host.ports()) == 2 and host.ports(), "another one") or []
    clients = [host.ask("GET", NEXT, address=ports[1]) for _ in range(2)]
    host.until(lambda: any(client.done() for client in clients), "one is given a task")
    for _ in range(20):
        host.events += host.pool.wait(0.005)
    alone = [client for client in clients if client.done()]
    assert [client.result().body for client in alone] == [b'"innocent"']
    done = host.answered(
        "POST", f"{VERSION}/invocation/{alone[0].result().request_id}/response", b"1", address=ports[1]
    )
    assert done.status == 202
    host.until(lambda: all(client.done() for client in clients), "the other is given the other")
    assert outcomes(host, 1)[0][0].index == again.indexes[0]
    os.killpg(host.worker(1).pid, signal.SIGKILL)
    lost = host.first(WorkerLost)
    assert (lost.slot, lost.running, lost.error.type) == (1, (guilty.serial, 0), "WorkerCrashed")


def test_a_client_that_dies_while_it_waits_takes_nothing(host: Host) -> None:
    run(host, 0, 10)
    dying, living = Client(host), Client(host)
    dying.respond(dying.next().request_id, "done")
    dying.send("GET", NEXT)
    host.until(lambda: len(host.pool._sandboxes[0].parked) == 1, "it waits")
    living.send("GET", NEXT)
    host.until(lambda: len(host.pool._sandboxes[0].parked) == 2, "both wait")
    dying.die()
    outcomes(host, 1)
    run(host, 1, 20)
    told = living.receive()
    assert told.body == b"20"
    assert living.respond(told.request_id, "done").status == 202
    assert result_of(outcomes(host, 1)[1][0]) == "done"
    assert not [event for event in host.events if isinstance(event, WorkerLost)]


def test_output_says_whose_it_may_be(tmp_path: Path) -> None:
    idle = '#!/bin/sh\necho loading\necho "$AWS_LAMBDA_RUNTIME_API" > port-1.new\nmv port-1.new port-1\n'
    idle += "while sleep 0.01; do [ -e print ] && rm print && echo printed; done\n"
    with hosted(tmp_path, idle, slots=2) as host:
        run(host, 0, 10)
        run(host, 1, 20)
        clients = [given(host, asked(host)) for _ in range(2)]
        (tmp_path / "print").touch()
        host.until(lambda: os.fstat(host.pool._sandboxes[0].started.stdout).st_size, "it has printed")
        for client in clients:
            host.respond(client.request_id, 1)
        printed = sorted(outcome.stdout for found in outcomes(host, 2).values() for outcome in found)
    assert printed == [
        "",
        "(printed in an environment of up to 2 invocations at once: some of it may be of others)\nprinted\n",
    ]


def test_one_failure_to_load_is_charged_to_one_task(host: Host) -> None:
    run(host, 0, 10)
    run(host, 1, 20)
    body = json.dumps({"errorType": "ImportError", "errorMessage": "no module x"}).encode()
    answer = host.answered("POST", f"{VERSION}/init/error", body)
    assert answer.status == 202
    failed, lost = host.first(LoadFailed), host.first(WorkerLost)
    assert (failed.slot, failed.error.type) == (0, "InitError")
    assert (lost.slot, lost.running, lost.error.type) == (1, None, STOPPED)


def test_a_client_that_takes_fewer_tasks_than_it_may_has_time_for_them(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for it has its time from when it could take it."""
    monkeypatch.setattr(limits, "WORKER_START_SECONDS", 100.0)
    run(host, 0, 10)
    told = given(host, asked(host))
    run(host, 1, 20)
    sandbox = host.pool._sandboxes[0]
    assert not sandbox.is_late(time.monotonic() + 1e6)
    sandbox.awaited_since -= 1000
    assert host.respond(told.request_id, "done").status == 202
    assert not sandbox.is_late(time.monotonic())
    assert sandbox.is_late(time.monotonic() + 101)
    assert given(host, asked(host)).body == b"20"


def test_clients_that_do_not_come_back_are_replaced(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once they run nothing."""
    run(host, 0, 10)
    told = given(host, asked(host))
    run(host, 1, 20)
    sandbox = host.pool._sandboxes[1]
    host.respond(told.request_id, "done")
    monkeypatch.setattr(limits, "WORKER_START_SECONDS", 0.2)
    host.until(lambda: host.pool._sandboxes.get(1) is not sandbox, "it is replaced")
    monkeypatch.undo()
    assert result_of(outcomes(host, 1)[0][0]) == "done"
    ports = host.until(lambda: len(host.ports()) == 2 and host.ports(), "another one") or []
    assert host.next(address=ports[1]).body == b"20"
    assert not [event for event in host.events if isinstance(event, WorkerLost)]


def test_a_slot_that_turns_to_another_function_leaves_the_others(host: Host) -> None:
    run(host, 0, 10)
    run(host, 1, 20)
    pid = host.worker(0).pid
    clients = [given(host, asked(host)) for _ in range(2)]
    host.respond(clients[0].request_id, 1)
    outcomes(host, 1)
    host.pool.discard(0)
    assert host.worker(1).pid == pid
    assert host.respond(clients[1].request_id, 2).status == 202
    assert result_of(outcomes(host, 1)[1][0]) == 2
    host.pool.discard(1)
    assert not host.pool.busy


def test_a_task_that_wants_an_environment_of_its_own_has_it(host: Host) -> None:
    for slot in range(2):
        host.run([slot], slot=slot, package_options=SHARED, isolation="task")
    assert host.worker(0).pid != host.worker(1).pid
    assert "AWS_LAMBDA_MAX_CONCURRENCY" not in commands.environment(host.pool._sandboxes[0].function, "")


def test_an_error_ends_its_task_alone(host: Host) -> None:
    run(host, 0, 10)
    run(host, 1, 20)
    clients = [given(host, asked(host)) for _ in range(2)]
    body = json.dumps({"errorType": "ValueError", "errorMessage": "no price"}).encode()
    host.answered("POST", f"{VERSION}/invocation/{clients[0].request_id}/error", body)
    host.respond(clients[1].request_id, "done")
    found = outcomes(host, 2)
    assert error_of(found[0][0]) == TaskError("ValueError", "no price")
    assert result_of(found[1][0]) == "done"
