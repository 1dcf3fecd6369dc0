"""The commit that ends a session, on DynamoDB's items in memory: agents race for it in virtual time, with faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import EndpointConnectionError

from htcgrid_core.adapters.aws.dynamodb import committing, row_counting
from htcgrid_core.adapters.aws.dynamodb.audit_log import AuditItems
from htcgrid_core.adapters.aws.dynamodb.commit_transaction import Counted, commit_part
from htcgrid_core.adapters.aws.dynamodb.keys import Place, session_key
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRow
from htcgrid_core.adapters.aws.dynamodb.store import DynamoStore
from htcgrid_core.adapters.aws.dynamodb.writes import ConditionFailed, Write
from htcgrid_core.domain.bundle import Child, child_id, child_of, root_id
from htcgrid_core.domain.errors import GridUnavailable, LeaseLost
from htcgrid_core.domain.lifecycle import SESSION as LIFECYCLE
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.session_end import verdict
from htcgrid_core.ports.session_store import Claimed, Commit
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.given import LEASE, SESSION
from htcgrid_core.testing.simulator.world import World
from tests.sim.dynamo_table import Key, MemoryDynamo, Values

SEEDS, GROUP = 300, 75
MUTANT_SEEDS = 600
CALL_SECONDS = 0.006
LONGEST_SECONDS = 300.0


class Violated(AssertionError):
    """A promise was broken."""


@dataclass
class Race:
    """One session, and agents that work on it: one seed is one history.

    Nobody reconciles: whoever hands back the last of the session ends it, or the run shows that nobody did.
    """

    seed: int
    items: dict[Key, Values] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = World(self.seed)
        rng = self.rng = self.world.rng
        self.faults = rng.choice([0.0, 0.05, 0.15])
        self.sizes = [rng.randint(1, 3) for _ in range(rng.randint(1, 6))]
        self.tolerated = rng.choice([None, None, 0, 1])
        self.failing = rng.choice([0.0, 0.2])
        self.hints = [root_id(root) for root in range(len(self.sizes))]
        self.has_older_agent = rng.random() < 0.25
        self.is_cancelled = False
        self.end: tuple[Any, ...] = ()
        self.world.after_step = self.check

    def simulate(self) -> None:
        """Run it.

        Raises:
            Violated: a promise was broken.
        """
        self.world.spawn("client", self._submit)
        for number in range(self.rng.randint(2, 4)):
            is_older = self.has_older_agent and number == 0
            name = f"agent-{number}"
            self.world.spawn(name, partial(self._work, name, is_older), 1.0)
        if self.rng.random() < 0.3:
            self.world.spawn("canceller", self._cancel, 1.0 + self.rng.random() * 0.3)
        self.world.run(self.world.now + LONGEST_SECONDS, lambda: bool(self.end))
        if not self.end:
            raise Violated(f"S1: the session is {self._row()} five minutes later")
        self.world.run(self.world.now + 2 * LEASE)
        self.world.close()

    # Actors

    def _store(self, name: str) -> DynamoStore:
        """An agent's own."""

        def step(call: str) -> None:
            self.world.pause(self.rng.expovariate(1.0 / CALL_SECONDS))
            if self.rng.random() < self.faults / 2:
                raise EndpointConnectionError(endpoint_url=call)

        def after(call: str) -> None:
            self.world.note(name, call)
            if self.rng.random() < self.faults:
                raise EndpointConnectionError(endpoint_url=f"{call}, whose reply is lost")

        client: Any = MemoryDynamo(self.items, step, after)
        return DynamoStore(lambda: client, "table", sleep=self.world.pause)

    def _again(self, call: Callable[[], Any]) -> Any:
        while True:
            try:
                return call()
            except GridUnavailable:
                self.world.pause(0.02 * self.rng.random())

    def _submit(self) -> None:
        pairs, draft = given.roots(self.sizes), given.record(submitted_at=self.world.now)
        store = self._store("client")
        self._again(lambda: store.create_whole(draft, pairs, digest="d", tolerated=self.tolerated))

    def _work(self, name: str, is_older: bool) -> None:
        store = self._store(name)
        while not self.end:
            if not self.hints:
                self.world.pause(0.05)
                continue
            bundle_id = self.hints.pop(self.rng.randrange(len(self.hints)))
            token, now = f"{self.rng.getrandbits(64):x}", self.world.now
            until = now + LEASE
            ask = partial(store.claim, SESSION, bundle_id, token=token, owner=name, now=now, until=until)
            claimed = self._again(ask)
            if isinstance(claimed, Claimed):
                self.world.pause(0.05 * self.rng.random())
                if self.rng.random() < 0.03:
                    self.hints.append(bundle_id)  # another may take it once the lease has lapsed
                    self.world.pause(2 * LEASE * self.rng.random())
                self._commit(store, name, claimed, is_older)
            elif claimed.reason != "over":
                self.hints.append(bundle_id)
                self.world.pause(0.5)

    def _commit(self, store: DynamoStore, name: str, claimed: Claimed, is_older: bool) -> None:
        bundle = claimed.bundle
        done = [index for index in bundle.indexes if self.rng.random() < 0.8]
        rest = [index for index in bundle.indexes if index not in done]
        failed = sum(self.rng.random() < self.failing for _ in done)
        children = [child_of(bundle, child_id(bundle, claimed.lease.epoch, 0), rest)] if rest else []
        commit = Commit(
            SESSION,
            bundle.bundle_id,
            claimed.lease.token,
            self.world.now,
            Payload.inline(b"outcomes") if done else None,
            len(done) - failed,
            failed,
            tuple(map(Child, children)),
        )
        try:
            record = self._again(lambda: _commit_as_before(store, commit) if is_older else store.commit(commit))
        except LeaseLost:
            return
        self.hints += [child.bundle_id for child in children]
        if record.state is SessionState.CANCELLING:
            self._end_if_free(store, name)

    def _cancel(self) -> None:
        store = self._store("canceller")
        advance = store.advance
        record = self._again(lambda: advance(SESSION, SessionEvent.CANCEL, now=self.world.now, actor="ada"))
        self.is_cancelled = record.state is SessionState.CANCELLING
        if self.is_cancelled:
            self._end_if_free(store, "canceller")

    def _end_if_free(self, store: DynamoStore, name: str) -> None:
        if not self._again(lambda: store.has_live_lease(SESSION, self.world.now)):
            self._again(lambda: store.advance(SESSION, SessionEvent.DRAIN, now=self.world.now, actor=name))

    # What must hold

    def _row(self) -> dict[str, Any]:
        row = self.items.get(session_key(SESSION), {})
        return {
            name: next(iter(value.values()))
            for name, value in row.items()
            if name in ("st", "ok", "bad", "pend", "can")
        }

    def check(self) -> None:
        """After each step."""
        row = self._row()
        if not row:
            return
        pages = [item for (_, sort), item in self.items.items() if sort.startswith("B#") and "ok" in item]
        counted = [sum(int(page[name]["N"]) for page in pages) for name in ("ok", "bad")]
        ok, bad, pending = int(row["ok"]), int(row["bad"]), int(row["pend"])
        state, cancelled = SessionState(row["st"]), int(row.get("can", 0))
        if counted != [ok, bad]:
            raise Violated(f"S11: {ok} + {bad} are counted, {counted} were committed")
        if ok + bad + (cancelled if LIFECYCLE.is_terminal(state) else pending) != sum(self.sizes):
            raise Violated(f"S11: {row} of {sum(self.sizes)}")
        if state is SessionState.RUNNING and not pending and not self.has_older_agent:
            raise Violated("S1: all is done, and the session goes on")
        if LIFECYCLE.is_terminal(state):
            self._check_end(state, ok, bad, cancelled)

    def _check_end(self, state: SessionState, ok: int, bad: int, cancelled: int) -> None:
        end = (state, ok, bad, cancelled)
        if self.end not in ((), end):
            raise Violated(f"S3: {self.end} became {end}")
        self.end = end
        is_over = self.tolerated is not None and bad > self.tolerated
        wanted = SessionState.FAILED if is_over or (bad and self.tolerated is None) else SessionState.COMPLETED
        if state is not SessionState.CANCELLED and (state is not wanted or (cancelled and not is_over)):
            raise Violated(f"{end} with {self.tolerated} failures tolerated")


def _commit_as_before(store: DynamoStore, commit: Commit) -> Any:
    """As an agent of the release before commits: the transaction, a read, and the end if that is it."""
    counted, place = Counted.of([commit]), _place(store)
    counters = Write(
        session_key(SESSION),
        "#gen = :gen AND attribute_exists(#live)",
        f"SET #upd = :now{counted.log_update} ADD {counted.adds}, #pend :pend",
        arguments={**counted.arguments, "gen": place.generation, "pend": -counted.done},
    )
    part = commit_part(place, commit, commit.children)
    try:
        store.table.transact([counters, *part.writes])
    except ConditionFailed as failed:
        bundle = failed.items[1]
        if bundle is None or "d" not in bundle or bundle["t"] != commit.token:
            raise LeaseLost from None
    record = store.session(SESSION, commit.now)
    over = verdict(record, commit.now)
    return (
        record if over is None else store.advance(SESSION, over.event, now=commit.now, actor="grid", reason=over.reason)
    )


def _place(store: DynamoStore) -> Place:
    found = store.table.get(session_key(SESSION))
    assert found is not None
    return SessionRow(SESSION, found).place


@pytest.mark.parametrize("first", range(0, SEEDS, GROUP))
def test_no_promise_is_broken(first: int) -> None:
    for seed in range(first, first + GROUP):
        race = Race(seed)
        try:
            race.simulate()
        except Exception as error:
            error.add_note(f"seed {seed}:\n" + "\n".join(race.world.history[-40:]))
            raise


def test_all_kinds_of_ends_do_happen() -> None:
    races = [Race(seed) for seed in range(150)]
    for race in races:
        race.simulate()
    assert {race.end[0] for race in races} == {SessionState.COMPLETED, SessionState.FAILED, SessionState.CANCELLED}
    assert any(race.end[0] is SessionState.CANCELLED and race.end[1] for race in races), "none was cancelled at work"


def _without(text: str, name: str) -> Callable[[Any, Any, Any], Any]:
    """Row writes whose conditions lack a part."""

    def write(row: SessionRow, commits: Sequence[Commit], audit: AuditItems) -> tuple[list[Write], SessionRow]:
        (made, *audited), after = row_counting.row_write(row, commits, audit)
        is_end = "#end = " in (made.update or "")
        condition = made.condition.replace(text, "") if is_end == (name == "end") else made.condition
        return [Write(made.key, condition, made.update, arguments=made.arguments), *audited], after

    return write


MUTANTS: dict[str, Any] = {
    "a commit that does not ask whether it is the last": patch.object(
        committing, "row_write", _without(" AND #pend > :done", "on")
    ),
    "a commit that does not ask whether failures are too many": patch.object(
        committing, "row_write", _without(" AND #bad <= :room", "on")
    ),
    "a commit that does not ask for the state": patch.object(
        committing, "row_write", _without(" AND #st = :before", "on")
    ),
    "an end by counters that may have changed": patch.object(
        committing, "row_write", _without(" AND #ok = :ok_before AND #bad = :bad_before", "end")
    ),
    "an end over a cancel": patch.object(committing, "row_write", _without(" AND #st = :before", "end")),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_commit_is_seen(name: str) -> None:
    with MUTANTS[name]:
        for seed in range(MUTANT_SEEDS):
            try:
                Race(seed).simulate()
            except Violated:
                return
    pytest.fail(f"{MUTANT_SEEDS} seeds do not see: {name}")


def test_what_was_refused_is_not_counted() -> None:
    """A process that lost a bundle and claimed it again may commit it twice at once: the second is told the truth."""
    client: Any = MemoryDynamo({}, lambda _: None, lambda _: None)
    store = DynamoStore(lambda: client, "table")
    store.create_whole(given.record(), given.roots([1, 1]), digest="d", tolerated=None)
    claimed = store.claim(SESSION, root_id(0), token="ours", owner="agent", now=given.NOW, until=given.NOW + LEASE)
    assert isinstance(claimed, Claimed)
    parts = [
        commit_part(
            _place(store),
            Commit(SESSION, root_id(0), token, given.NOW, Payload.inline(b"outcomes"), 1, 0, ()),
            (),
        )
        for token in ("ours", "lapsed")
    ]
    record, lost = store._committing._commit_coalesced(parts)
    assert isinstance(lost, LeaseLost)
    assert not isinstance(record, Exception)
    assert (record.state, record.counters.completed) == (SessionState.RUNNING, 1)
