"""The DynamoDB store when replies are lost, calls are throttled, and batches are done in part: nothing doubles."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.keys import session_key
from htcgrid_core.adapters.aws.dynamodb.store import DynamoStore
from htcgrid_core.domain.bundle import root_id
from htcgrid_core.domain.errors import AccessDenied, GridUnavailable, LeaseLost, UnknownGrid
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.ports.session_store import Claimed, Renewal, SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import assert_counters_exact, assert_history_chains, everything, together
from htcgrid_core.testing.contracts.given import FULL_PAGE, LEASE, NOW, SESSION
from tests.aws.emulators import Account, default_config
from tests.aws.stores import TABLE, make_table, store_of

WRITES = ("PutItem", "UpdateItem", "TransactWriteItems", "BatchWriteItem", "DeleteItem")


class Faults:
    """Loses replies after the call was carried out, below botocore's own retries, as a broken connection does.

    Attributes:
        lose: whether to lose the reply to the next call of an operation.
        lost: operations whose replies were lost.
    """

    def __init__(self, client: Any) -> None:
        self.lose: Callable[[str], bool] = lambda _: False
        self.lost: list[str] = []
        self._http = client._endpoint.http_session
        client._endpoint.http_session = self

    def send(self, request: Any) -> AWSResponse:
        response: AWSResponse = self._http.send(request)
        operation = request.headers["X-Amz-Target"].decode().rpartition(".")[2]
        if self.lose(operation):
            self.lost.append(operation)
            raise ConnectionClosedError(endpoint_url=request.url)
        return response

    def close(self) -> None:
        self._http.close()


class Answers:
    """Answers instead of AWS, without carrying anything out: a status, an error code, and what else is in the body.

    Attributes:
        given: how many such answers were given.
    """

    def __init__(self, client: Any, rule: Callable[[str], tuple[int, dict[str, Any]] | None]) -> None:
        self.given = 0
        self._rule = rule
        client.meta.events.register("before-call.dynamodb.*", self._answer)

    def _answer(self, model: Any, **_: Any) -> Any:
        found = self._rule(model.name)
        if found is None:
            return None
        self.given += 1
        status, body = found
        return AWSResponse("", status, HTTPHeaders(), None), {"ResponseMetadata": {"HTTPStatusCode": status}, **body}


def error(code: str, **more: Any) -> tuple[int, dict[str, Any]]:
    """AWS's answer that refuses a call."""
    return 400, {"Error": {"Code": code, "Message": "no"}, **more}


def once_in(period: int, rng: random.Random) -> Callable[[str], bool]:
    return lambda operation: operation in WRITES and rng.randrange(period) == 0


@pytest.fixture(params=[1, 3], ids=["one lane", "three lanes"])
def lanes(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def client(aws_account: Account) -> Any:
    make_table(aws_account)
    return aws_account.dynamodb()


@pytest.fixture
def store(aws_account: Account, client: Any, lanes: int) -> DynamoStore:
    """The store under test; waits between its tries take no time."""
    return DynamoStore(lambda: client, TABLE, lanes=lanes, whole_lanes=lanes, sleep=lambda _: None)


@pytest.fixture
def sound(aws_account: Account, client: Any, lanes: int) -> DynamoStore:
    """Another client of the same table, without faults."""
    return store_of(aws_account, lanes=lanes, whole_lanes=lanes)


@pytest.fixture
def faults(client: Any) -> Faults:
    return Faults(client)


@pytest.fixture
def unretried(aws_account: Account, client: Any, lanes: int) -> tuple[DynamoStore, Faults]:
    """A store whose botocore repeats nothing, so that every lost reply reaches the caller."""
    from botocore.config import Config

    alone = aws_account.dynamodb(default_config().merge(Config(retries={"total_max_attempts": 1})))
    found = DynamoStore(lambda: alone, TABLE, lanes=lanes, whole_lanes=lanes, sleep=lambda _: None)
    return found, Faults(alone)


def again(call: Callable[[], Any]) -> Any:
    """Repeat a call whose fate is unknown with the same arguments, as the services do."""
    for _ in range(50):
        try:
            return call()
        except GridUnavailable:
            continue
    raise AssertionError("no answer in fifty tries")


def a_whole_life(store: SessionStore) -> None:
    """Every kind of write there is, each repeated until it is answered."""
    pairs = given.roots([3] * 6)
    again(lambda: store.create_session(given.record()))
    again(lambda: store.put_bundles(SESSION, pairs[:4], NOW))
    again(lambda: store.put_bundles(SESSION, pairs[4:], NOW))
    again(lambda: store.acknowledge(SESSION, bundles=6, digest="d", tolerated=9, now=NOW))
    for number in range(5):
        held: Claimed = again(partial(given.claimed, store, root_id(number), f"token-{number}"))
        assert (held.lease.epoch, held.bundle.crashes) == (1, 0)
        again(partial(store.renew, [Renewal(SESSION, root_id(number), f"token-{number}", NOW + LEASE)]))
        child, first = given.child(held, 0, [3 * number + 2]), 3 * number
        again(partial(store.commit, given.commit(held, [first], [first + 1], child)))
        heir = again(partial(given.claimed, store, child.bundle.bundle_id, f"heir-{number}"))
        again(partial(store.commit, given.commit(heir, [first + 2])))
    again(lambda: store.adopt(SESSION, "me", NOW))
    again(lambda: store.advance(SESSION, SessionEvent.CANCEL, now=NOW, actor="tester", owner="me"))
    again(lambda: store.advance(SESSION, SessionEvent.DRAIN, now=NOW, actor="tester"))


def assert_lived_once(store: SessionStore) -> None:
    """What ``a_whole_life`` leaves, however often its calls were carried out."""
    row = store.session(SESSION, NOW)
    assert (row.state, row.owner) == (SessionState.CANCELLED, "me")
    counters = row.counters
    assert (counters.total, counters.completed, counters.failed, counters.cancelled) == (18, 10, 5, 3)
    assert len(store.outcome_pages(SESSION, 0, FULL_PAGE)) == 10
    assert [entry.event for entry in store.history(SESSION)] == ["submit", "acknowledge", "adopt", "cancel", "drain"]
    assert_counters_exact(store)
    assert_history_chains(store)


class TestLostReplies:
    def test_every_reply_once(self, store: DynamoStore, sound: DynamoStore, faults: Faults) -> None:
        """Of every write the first reply is lost; botocore sends it again by itself."""
        seen = {operation: count() for operation in WRITES}  # of each its own, whatever is written between
        faults.lose = lambda operation: operation in WRITES and next(seen[operation]) % 2 == 0
        a_whole_life(store)
        assert {"UpdateItem", "TransactWriteItems"} <= set(faults.lost)
        assert_lived_once(sound)

    @pytest.mark.parametrize("seed", range(3))
    def test_any_reply(self, unretried: tuple[DynamoStore, Faults], sound: DynamoStore, seed: int) -> None:
        """Any reply may be lost, and the caller repeats the call."""
        store, faults = unretried
        faults.lose = once_in(3, random.Random(seed))
        a_whole_life(store)
        assert faults.lost
        assert_lived_once(sound)

    def test_of_a_session_in_one_step(
        self, unretried: tuple[DynamoStore, Faults], sound: DynamoStore, lanes: int
    ) -> None:
        """The session is one, whichever of its writes were repeated."""
        store, faults = unretried
        faults.lose = once_in(2, random.Random(2))
        pairs = given.roots([2] * 30)
        row = again(lambda: store.create_whole(given.record(), pairs, digest="d", tolerated=None))
        assert sound.session(SESSION, NOW) == row
        assert faults.lost
        assert row.counters.total == 60
        assert sound.blocks(SESSION, 0, FULL_PAGE) == [block for _, block in pairs]
        assert_counters_exact(sound)

    def test_of_many_children(self, unretried: tuple[DynamoStore, Faults], sound: DynamoStore) -> None:
        """More than a transaction takes: all of them, once."""
        store, faults = unretried
        given.running(sound, [256])
        held = given.claimed(sound, root_id(0))
        write = given.commit(held, [], [], *(given.child(held, index, [index]) for index in range(256)))
        faults.lose = once_in(20, random.Random(1))
        again(lambda: store.commit(write))
        found = sound.open_bundles(SESSION, "", FULL_PAGE)
        assert sorted(index for f in found for index in f.bundle.indexes) == list(range(256))
        assert_counters_exact(sound)

    def test_many_children_of_a_commit_that_never_was(
        self, store: DynamoStore, sound: DynamoStore, client: Any
    ) -> None:
        """What an agent wrote before it died in the middle of such a commit does not exist."""
        given.running(sound, [256])
        held = given.claimed(sound, root_id(0), "dead")
        ghosts = [given.child(held, index, [index]) for index in range(256)]
        answers = Answers(client, lambda name: error("AccessDeniedException") if name == "TransactWriteItems" else None)
        with pytest.raises(AccessDenied):
            store.commit(given.commit(held, [], [], *ghosts))
        assert answers.given == 1
        later = NOW + LEASE + 1
        assert [f.bundle.bundle_id for f in sound.open_bundles(SESSION, "", FULL_PAGE)] == [root_id(0)]
        assert [hint.bundle_id for hint in sound.runnable(SESSION, later, FULL_PAGE)] == [root_id(0)]
        given.refused(sound, ghosts[7].bundle.bundle_id, now=later)
        heir = given.claimed(sound, root_id(0), "heir", now=later)
        sound.commit(given.commit(heir, list(range(256))))
        given.refused(sound, ghosts[7].bundle.bundle_id, now=later)
        assert sound.open_bundles(SESSION, "", FULL_PAGE) == []
        assert_counters_exact(sound)


class TestEndOfSeveralLanes:
    def test_whoever_comes_next_finishes_it(self, unretried: tuple[DynamoStore, Faults], sound: DynamoStore) -> None:
        """Its writer may die after any of its writes; nothing is committed after the decision, whatever it took."""
        store, faults = unretried
        for number in range(8):
            session_id = f"s-{number:04d}"
            given.running(sound, [2, 2], session_id)
            held = given.claimed(sound, root_id(0), "mine", session_id=session_id)
            late = given.claimed(sound, root_id(1), "late", session_id=session_id)
            sound.commit(given.commit(held, [0, 1]))
            countdown = iter([False] * number + [True] * 1000)
            faults.lose = lambda operation, countdown=countdown: operation in WRITES and next(countdown)  # type: ignore[misc]
            with contextlib.suppress(GridUnavailable):
                store.advance(session_id, SessionEvent.FAIL, now=NOW, actor="first", reason="too slow")
            row = sound.advance(session_id, SessionEvent.CANCEL, now=NOW + 1, actor="second", reason="no need")
            assert row.state is SessionState.FAILED
            assert (row.reason, row.counters.completed, row.counters.cancelled) == ("too slow", 2, 2)
            assert [entry.actor for entry in sound.history(session_id)] == ["client", "client", "first"]
            with pytest.raises(LeaseLost):
                sound.commit(given.commit(late, [2, 3]))
            assert_counters_exact(sound, session_id)


class TestThrottling:
    @pytest.fixture
    def throttled(self, client: Any) -> Answers:
        rng = random.Random(3)
        return Answers(client, lambda _: error("ThrottlingException") if rng.randrange(3) == 0 else None)

    def test_a_whole_life(self, store: DynamoStore, sound: DynamoStore, throttled: Answers) -> None:
        a_whole_life(store)
        assert throttled.given
        assert_lived_once(sound)

    def test_the_rate_falls(self, aws_account: Account, client: Any, lanes: int) -> None:
        """Each try waits longer than the one before, a second at most, and in the end the caller is told."""
        waits: list[float] = []
        store = DynamoStore(lambda: client, TABLE, lanes=lanes, sleep=waits.append)
        answers = Answers(client, lambda _: error("ProvisionedThroughputExceededException"))
        with pytest.raises(GridUnavailable, match=f"{TABLE}.*throttles"):
            store.session(SESSION, NOW)
        assert answers.given == len(waits) == 8
        assert all(wait <= min(1.0, 0.01 * 3**number) for number, wait in enumerate(waits))

    @pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
    def test_a_commit_beside_others(self, store: DynamoStore, sound: DynamoStore, client: Any, code: str) -> None:
        """Transactions that write the same item at the same moment are cancelled by AWS, and tried again."""
        given.running(sound, [2])
        held = given.claimed(store, root_id(0))
        reasons = [{"Code": "None"}, {"Code": code, "Message": "others"}]
        cancelled = error("TransactionCanceledException", CancellationReasons=reasons)
        left = iter([cancelled] * 3)
        answers = Answers(client, lambda name: next(left, None) if name == "TransactWriteItems" else None)
        assert store.commit(given.commit(held, [0, 1])).counters.completed == 2
        assert answers.given == 3
        assert_counters_exact(sound)


class TestPartOfABatch:
    @pytest.mark.parametrize("whole", [False, True])
    def test_unprocessed(self, store: DynamoStore, sound: DynamoStore, client: Any, whole: bool) -> None:
        """Of a batch AWS does a part and names the rest, again and again: all of it is done in the end."""
        rng = random.Random(5)

        def keep_back(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
            asked = params["RequestItems"][TABLE]
            rows = asked["Keys"] if "Keys" in asked else asked  # noqa: SIM401 - puts are a list
            kept = [rows.pop() for _ in range(rng.randrange(len(rows)))] if len(rows) > 1 else []
            context["kept"] = {TABLE: {**asked, "Keys": kept} if "Keys" in asked else kept} if kept else {}

        def name_the_rest(parsed: dict[str, Any], context: dict[str, Any], model: Any, **_: Any) -> None:
            if context["kept"]:
                parsed["UnprocessedKeys" if model.name == "BatchGetItem" else "UnprocessedItems"] = context["kept"]

        for operation in ("BatchGetItem", "BatchWriteItem"):
            client.meta.events.register(f"before-parameter-build.dynamodb.{operation}", _copying(keep_back))
            client.meta.events.register(f"after-call.dynamodb.{operation}", name_the_rest)
        ids = [f"s-{number:04d}" for number in range(12)]
        for session_id in ids:
            if whole:
                pairs = given.roots([1] * 32, session_id)
                store.create_whole(given.record(session_id), pairs, digest="", tolerated=None)
            else:
                given.running(store, [1] * 4, session_id)
        assert [row.session_id for row in store.progress(ids, NOW)] == ids
        for session_id in ids[:2]:
            assert everything(store, session_id) == everything(sound, session_id)
            assert_counters_exact(sound, session_id)


def _copying(handler: Callable[..., None]) -> Callable[..., None]:
    """The handler on the parameters' own copy: the store goes on with what AWS leaves, not with its own."""

    def handle(params: dict[str, Any], **more: Any) -> None:
        own = {
            table: {**asked, "Keys": list(asked["Keys"])} if "Keys" in asked else list(asked)
            for table, asked in params["RequestItems"].items()
        }
        params["RequestItems"] = own
        handler(params=params, **more)

    return handle


class TestTrouble:
    @pytest.mark.parametrize(
        ("code", "kind", "says"),
        [
            ("AccessDeniedException", AccessDenied, "not permitted"),
            ("ExpiredTokenException", AccessDenied, "renew"),
            ("UnrecognizedClientException", AccessDenied, "renew"),
            ("ResourceNotFoundException", UnknownGrid, "does not exist"),
            ("InternalServerError", GridUnavailable, "try again"),
        ],
    )
    def test_is_one_clear_sentence(
        self, store: DynamoStore, client: Any, code: str, kind: type[Exception], says: str
    ) -> None:
        """What is wrong, with which table, and what to do."""
        Answers(client, lambda _: error(code))
        with pytest.raises(kind, match=f"DynamoDB table {TABLE} in eu-west-1.*{says}") as caught:
            given.running(store)
        assert "\n" not in str(caught.value)

    def test_a_table_that_is_gone(self, store: DynamoStore, client: Any) -> None:
        """As the emulator says it."""
        client.delete_table(TableName=TABLE)
        with pytest.raises(UnknownGrid, match="does not exist"):
            store.session(SESSION, NOW)

    def test_nobody_there(self) -> None:
        """A wrong endpoint."""
        store = store_of(Account("http://127.0.0.1:1"))
        with pytest.raises(GridUnavailable, match="cannot be reached"):
            store.session(SESSION, NOW)


class TestLanes:
    def test_a_long_log_is_moved_into_the_page_order(self, store: DynamoStore, sound: DynamoStore, client: Any) -> None:
        """The item that every commit writes stays small, and the order stays."""
        bundles, row = 70, session_key(SESSION)
        given.running(store, [1] * bundles)
        largest = 0
        for number in range(bundles):
            held = given.claimed(store, root_id(number), f"token-{number}")
            store.commit(given.commit(held, [number]))
            place = items.place_of(SESSION, store.table.get_many([row])[row])
            counters = store.table.get_many(place.counter_keys(), ("log",))
            largest = max(largest, *(len(item.get("log", ())) for item in counters.values()), 0)
        assert largest <= 16
        pages = sound.outcome_pages(SESSION, 0, FULL_PAGE)
        assert [page.cursor for page in pages] == list(range(1, bundles + 1))
        assert sorted(page.root for page in pages) == list(range(bundles))
        assert_counters_exact(sound)

    def test_many_commits_at_once_with_replies_lost(self, aws_account: Account, sound: DynamoStore, lanes: int) -> None:
        """Clients that each lose replies add up to what is there, and a reader sees each page once."""
        clients, each = 4, 10
        given.running(sound, [2] * (clients * each))

        def work(number: int) -> None:
            client = aws_account.dynamodb()
            store = DynamoStore(lambda: client, TABLE, lanes=lanes, whole_lanes=lanes)
            Faults(client).lose = once_in(4, random.Random(number))
            for root in range(number * each, (number + 1) * each):
                held = again(partial(given.claimed, store, root_id(root), f"token-{root}"))
                again(partial(store.commit, given.commit(held, [2 * root, 2 * root + 1])))

        assert together([partial(work, number) for number in range(clients)]) == [None] * clients
        assert sound.session(SESSION, NOW).counters.completed == 2 * clients * each
        pages = sound.outcome_pages(SESSION, 0, FULL_PAGE)
        assert [page.cursor for page in pages] == list(range(1, clients * each + 1))
        assert sorted(page.root for page in pages) == list(range(clients * each))
        assert_counters_exact(sound)
