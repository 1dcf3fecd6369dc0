"""SQS queues keep the contract of the port, on an emulator over HTTP; and what SQS may do that an emulator does not."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.adapters.aws.doorbell import ProcessDoorbell
from htcgrid_core.adapters.aws.parameter import PoolQueues
from htcgrid_core.adapters.aws.sqs import messages, receiver
from htcgrid_core.adapters.aws.sqs.messages import BELL
from htcgrid_core.adapters.aws.sqs.priority_polling import AGAIN_SECONDS, PRIORITIES, PriorityPolling
from htcgrid_core.adapters.aws.sqs.queue import SqsQueue
from htcgrid_core.adapters.aws.sqs.receiver import Receiver
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.domain.errors import UnknownGrid
from htcgrid_core.domain.session import Priority
from htcgrid_core.ports.bundle_queue import BundleQueue, Hint, Message
from htcgrid_core.ports.session_store import SessionStore
from htcgrid_core.testing.contracts import BundleQueueContract, DoorbellContract
from htcgrid_core.testing.contracts.facts import eventually
from tests.aws.emulators import Account
from tests.aws.grids import clients_of

HIDDEN_SECONDS = 30.0


def queues_of(account: Account, pool: str) -> PoolQueues:
    """Queues without dead letters."""
    sqs = account.sqs()
    urls = {name: sqs.create_queue(QueueName=f"{pool}-{name}")["QueueUrl"] for name in PoolQueues.model_fields}
    return PoolQueues(**urls)


def taken(queue: SqsQueue, count: int = 1, limit: int = 8) -> list[Message]:
    """So many messages, once they have come."""
    found: list[Message] = []

    def look() -> list[Message]:
        found.extend(queue.receive("default", limit, time.time()).messages)
        return found

    return eventually(look, lambda messages: len(messages) >= count)


@pytest.fixture
def queues(aws_account: Account) -> dict[str, PoolQueues]:
    return {pool: queues_of(aws_account, pool) for pool in ("default", "other")}


@pytest.fixture
def queue(aws_account: Account, queues: dict[str, PoolQueues]) -> Iterator[SqsQueue]:
    queue = SqsQueue(clients_of(aws_account), queues, hidden_seconds=HIDDEN_SECONDS)
    yield queue
    queue.close()


@pytest.fixture
def calls(queue: SqsQueue) -> Counter[str]:
    """Requests of the queue by operation."""
    counted: Counter[str] = Counter()
    queue._clients.sqs.meta.events.register(
        "request-created.sqs.*", lambda operation_name, **_: counted.update([operation_name])
    )
    return counted


class TestSqsQueue(BundleQueueContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> SessionStore:
        return SqliteStore(Database(tmp_path / "grid.db"))

    @pytest.fixture
    def queue(self, aws_account: Account, queues: dict[str, PoolQueues]) -> Iterator[BundleQueue]:
        queue = SqsQueue(clients_of(aws_account), queues, hidden_seconds=HIDDEN_SECONDS)
        yield queue
        queue.close()


class TestProcessDoorbell(DoorbellContract):
    @pytest.fixture
    def doorbell(self) -> ProcessDoorbell:
        return ProcessDoorbell()


def hints(count: int, priority: Priority = "normal", session_id: str = "s-test") -> list[Hint]:
    return [Hint(session_id, f"{number:08d}", priority=priority) for number in range(count)]


class TestPriorities:
    @pytest.mark.parametrize("priority", ["high", "normal", "low"])
    def test_whoever_waits_hears_of_every_priority(self, queue: SqsQueue, priority: Priority) -> None:
        """Also while the agent's one long poll waits at another queue."""
        assert not queue.receive("default", 8, time.time()).messages
        receiver = queue._receivers["default"]
        eventually(lambda: receiver._polling.asked, lambda asked: not asked)  # it has seen all of them empty
        queue.send("default", hints(1, priority))
        assert [message.hint.priority for message in taken(queue)] == [priority]

    def test_high_goes_first_and_low_is_not_starved(self) -> None:
        """While there is work of every priority."""
        polling = PriorityPolling()
        asked = [polling.next(0.0)[0] for _ in range(1110)]
        assert Counter(asked) == {"high": 1000, "normal": 100, "low": 10}
        assert asked[0] == "high"

    def test_a_flood_of_high_does_not_starve_low(self, queue: SqsQueue, calls: Counter[str]) -> None:
        """However fast it comes: what is taken is sent again at once, and low is asked once in 111 times."""
        queue.send("default", hints(20, "high"))
        queue.send("default", hints(1, "low", "s-low"))
        high = 0
        found = taken(queue)
        while all(message.hint.priority == "high" for message in found):
            high += len(found)
            queue.delete(found)
            queue.send("default", [message.hint for message in found])
            found = taken(queue)
        assert high >= 20, "high went first"
        assert calls["ReceiveMessage"] <= 111 + len(PRIORITIES)

    def test_a_tenant_is_a_group_and_so_is_a_session_that_names_none(
        self, queue: SqsQueue, aws_account: Account
    ) -> None:
        """On the wire, for SQS's fair queues; a bell is of no group."""
        sent: list[dict[str, Any]] = []
        queue._clients.sqs.meta.events.register(
            "before-call.sqs.SendMessageBatch", lambda params, **_: sent.append(json.loads(params["body"]))
        )
        queue.send(
            "default", [*hints(2, "high", "s-one"), *hints(1, "high", "s-two"), *hints(1, "high", "mine.s-three")]
        )
        groups = [[entry.get("MessageGroupId") for entry in body["Entries"]] for body in sent]
        assert groups == [["s-one", "s-one", "s-two", "mine"], [None] * 4]

    def test_a_bell_that_was_lost_is_rung_again(self, queue: SqsQueue) -> None:
        """Whoever asks whether messages were lost learns that one waits, and tells those that do not look there."""
        sqs, normal = queue._clients.sqs, queue._queues["default"].normal

        def bells() -> list[str]:
            found = sqs.receive_message(QueueUrl=normal, WaitTimeSeconds=1, VisibilityTimeout=600).get("Messages", [])
            return [message["Body"] for message in found]

        queue.send("default", hints(1, "low"))
        assert bells() == [BELL], "with whoever received it, it is lost"
        assert bells() == []
        assert not queue.may_have_lost("default")
        assert bells() == [BELL]

    def test_an_idle_minute_costs_few_calls(
        self, queue: SqsQueue, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Once every queue was seen empty, one call at a time that waits as long as a long poll; here one second."""
        monkeypatch.setattr(receiver, "LONG_POLL_SECONDS", 1)
        waits: list[int] = []
        queue._clients.sqs.meta.events.register(
            "provide-client-params.sqs.ReceiveMessage", lambda params, **_: waits.append(params["WaitTimeSeconds"])
        )

        def polled() -> list[int]:
            assert not queue.receive("default", 8, time.time()).messages
            return waits

        eventually(polled, lambda found: len(found) >= len(PRIORITIES) + 3)
        assert waits == [0] * len(PRIORITIES) + [1] * (len(waits) - len(PRIORITIES))
        assert calls.keys() == {"ReceiveMessage"}

    def test_an_idle_agent_waits_at_one_queue_and_makes_no_other_call(self) -> None:
        polling = PriorityPolling()
        calls = []
        now = 0.0
        for _ in range(10):
            priority, wait = polling.next(now)
            calls.append((priority, wait))
            polling.empty(priority, wait)
            now += 20.0 if wait else 0.01
        assert calls == [("high", False), ("normal", False), ("low", False), *[("normal", True)] * 7]

    def test_a_busy_agent_looks_again_at_a_queue_that_was_empty(self) -> None:
        polling = PriorityPolling()
        asked: list[str] = []
        for tenth in range(100):
            priority, wait = polling.next(tenth / 10)
            asked.append(priority)
            if priority == "normal":
                polling.found(priority, tenth / 10)
            else:
                polling.empty(priority, wait)
        assert asked.count("high") == 10 / AGAIN_SECONDS
        assert asked.count("normal") > 80

    def test_who_waited_and_found_something_asks_there_again_and_then_everywhere(self) -> None:
        """The rest of a session that was sent is there; what is more urgent comes next."""
        polling = PriorityPolling()
        for _ in PRIORITIES:
            polling.empty(*polling.next(0.0))
        priority, wait = polling.next(1.0)
        assert wait
        polling.empty(priority, wait)
        polling.found(priority, 1.1)
        assert [polling.next(1.1)[0] for _ in range(3)] == ["normal", "high", "high"]


class TestAppetite:
    """How many messages are fetched at a time, as the wire has it."""

    @pytest.fixture
    def asked(self, queue: SqsQueue) -> list[int]:
        found: list[int] = []
        queue._clients.sqs.meta.events.register(
            "provide-client-params.sqs.ReceiveMessage", lambda params, **_: found.append(params["MaxNumberOfMessages"])
        )
        return found

    def test_both_bundles_of_a_small_session_come_at_once(self, queue: SqsQueue, asked: list[int]) -> None:
        queue.send("default", hints(2))
        found = taken(queue, limit=2)
        assert len(found) == 2
        assert set(asked) == {2}

    def test_an_agent_that_had_no_room_for_two_gets_one_until_that_was_too_few(
        self, queue: SqsQueue, asked: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queue.send("default", hints(2))
        monkeypatch.setattr(receiver, "QUICK_SECONDS", 0.0)  # it asks again when it has run them
        queue.extend(taken(queue, limit=2), 0.0)
        asked.clear()
        assert [len(taken(queue)), len(taken(queue))] == [1, 1]
        assert set(asked) == {1}
        monkeypatch.setattr(receiver, "QUICK_SECONDS", 60.0)
        assert not queue.receive("default", 8, time.time()).messages
        monkeypatch.setattr(receiver, "QUICK_SECONDS", 0.0)
        queue.send("default", hints(2, session_id="s-next"))
        assert len(taken(queue)) == 2


def test_an_empty_queue_may_have_lost_what_was_sent(queue: SqsQueue) -> None:
    """What agents hold is not waiting, and neither are the dead."""
    assert queue.may_have_lost("default")
    queue.send("default", hints(1, "low"))
    assert not queue.may_have_lost("default")
    assert queue.may_have_lost("other")


class TestHandingBack:
    def test_what_is_handed_back_comes_again_at_once(self, queue: SqsQueue) -> None:
        queue.send("default", hints(1))
        first = taken(queue)
        queue.extend(first, 0.0)
        before = time.monotonic()
        assert taken(queue)[0].hint == first[0].hint
        assert time.monotonic() - before < HIDDEN_SECONDS / 2

    def test_what_nobody_takes_goes_to_another_agent(
        self, queue: SqsQueue, aws_account: Account, queues: dict[str, PoolQueues]
    ) -> None:
        """An agent that asked, and then has enough to do."""
        queue.send("default", hints(1))
        assert not queue.receive("default", 8, time.time()).messages
        eventually(lambda: queue._receivers["default"]._held, bool)
        other = SqsQueue(clients_of(aws_account), queues, hidden_seconds=HIDDEN_SECONDS)
        try:
            assert taken(other)[0].hint == hints(1)[0]
        finally:
            other.close()

    def test_an_old_receipt_does_no_harm(self, queue: SqsQueue) -> None:
        queue.send("default", hints(1))
        old = taken(queue)
        queue.extend(old, 0.0)
        new = taken(queue)
        queue.extend(old, 60.0)
        queue.delete(old)  # AWS may refuse it or delete the message, whose newer receipt is as good
        queue.delete(new)
        queue.delete(new)
        queue.close()


class TestForgedMessages:
    @pytest.mark.parametrize(
        "body",
        [
            "", "{", "[]", "null", '"x"', "{}", '{"bell":2}', '{"session":"s-test"}', '{"session":1,"bundle":2}',
            '{"session":"../../x","bundle":"00000000"}', '{"session":"s-test","bundle":"../x"}',
            '{"session":"s-test","bundle":"00000000","not_before":"nan"}', '{"session":"s-test","bundle":"0"}',
            '{"session":"s-test","bundle":"00000000","not_before":1e999}',
            '{"session":"s-test","bundle":"00000000","priority":"highest"}',
            '{"session":"s-test","bundle":"00000000","tasks":-1}',
            '{"session":"s-test","bundle":"00000000","tasks":257}',
        ],
    )  # fmt: skip
    def test_is_not_read(self, body: str) -> None:
        assert messages.read(body) is None

    def test_is_deleted_and_what_is_behind_it_comes(
        self, queue: SqsQueue, aws_account: Account, queues: dict[str, PoolQueues]
    ) -> None:
        aws_account.sqs().send_message(QueueUrl=queues["default"].normal, MessageBody="rm -rf /")
        queue.send("default", hints(1))
        queue.delete(taken(queue))

        def left() -> int:
            url = queues["default"].normal
            names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            found = aws_account.sqs().get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            return sum(int(number) for number in found.values())

        assert eventually(left, lambda number: number == 0) == 0

    def test_what_was_written_is_read(self) -> None:
        for hint in (Hint("s-test", "00000001"), Hint("t-0123", "00000001.ab12", 1234.5, "low")):
            assert messages.read(messages.write(hint, 2)) == messages.Content(hint, 2)
        told = messages.read(messages.write(Hint("s-test", "00000001", generation="ab12", tasks=16)))
        assert told is not None
        assert told.hint is not None
        assert (told.hint.generation, told.hint.tasks) == ("ab12", 16)


def test_depth_by_queue_and_state(queue: SqsQueue) -> None:
    later = Hint("s-test", "later", time.time() + 600, "high")
    queue.send("default", [*hints(3, "high"), later])
    depth = queue.depth("default")
    assert (depth["high", "waiting"], depth["high", "delayed"], depth["high", "hidden"]) == (3, 1, 0)
    assert (depth["low", "waiting"], depth["dead", "waiting"]) == (0, 0)
    taken(queue)
    assert queue.depth("default")["high", "hidden"] >= 1


def test_a_pool_that_is_not_there(queue: SqsQueue) -> None:
    with pytest.raises(UnknownGrid, match="default, other"):
        queue.send("huge", hints(1))


def test_a_deleted_queue_is_said_so(queue: SqsQueue, aws_account: Account, queues: dict[str, PoolQueues]) -> None:
    aws_account.sqs().delete_queue(QueueUrl=queues["default"].normal)
    with pytest.raises(UnknownGrid, match="does not exist"):
        queue.send("default", hints(1))
    with pytest.raises(UnknownGrid, match="does not exist"):
        taken(queue)


def test_what_nobody_thought_of_is_not_lost_in_a_thread(
    queue: SqsQueue, queues: dict[str, PoolQueues], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the agent, loudly; an agent that hears nothing any more would look well for ever."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Receiver, "_receive", broken)
    with pytest.raises(ZeroDivisionError):
        taken(queue)
