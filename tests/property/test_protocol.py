"""The services against a small model, with crashes, zombies, replays, forged hints and clocks that are wrong.

S2 one visible result for each task, S3 terminal is for ever, S4 only the holder of a lease commits, S5 submitting
is idempotent, S8 what is doubled, replayed or forged changes nothing, S10 wrong clocks never break any of this,
S11 counters are exact; and what ran out of memory goes on in the larger pool, once, and nothing else does.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.codecs.values import decode_json
from htcgrid_core.domain import limits
from htcgrid_core.domain.bundle import Child, child_id, child_of
from htcgrid_core.domain.errors import IllegalTransition, LeaseLost, SessionConflict, SessionNotFound
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import results
from htcgrid_core.services.cancel import cancel
from htcgrid_core.services.claim import Work
from htcgrid_core.services.commit import commit
from htcgrid_core.services.finalize import finalize
from htcgrid_core.services.reconcile import reconcile
from htcgrid_core.services.renew import renew
from htcgrid_core.testing.contracts.facts import assert_history_chains
from tests.faults import Crash, failing_at
from tests.manual_agent import children, finish, run, submit, take
from tests.planes import ManualClock, memory_plane, spec
from tests.property.model import ModelSession

TEN_MINUTES = 600.0
MAX_SESSIONS = 4
BEGUN_EVENTS = 36  # single-task bundles: more than go in one step, so that a submitter can die in between
pools = st.sampled_from(["default", "default", "large"])
skews = st.sampled_from([0.0, 0.0, 0.0, TEN_MINUTES, -TEN_MINUTES])


@dataclass
class SkewedClock:
    """One machine's clock, wrong by so many seconds."""

    true: ManualClock
    skew: float

    def now(self) -> float:
        return self.true.now() + self.skew

    def monotonic(self) -> float:
        return self.true.monotonic()

    def sleep(self, seconds: float) -> None:
        self.true.sleep(seconds)


@dataclass(frozen=True)
class SentCommit:
    """A commit as it was sent, to be sent again."""

    work: Work
    outcomes: Outcomes
    children: Sequence[Child]
    accepted: bool


class Refusing(Exception):
    """What a handler raises here."""


def answer(event: int) -> list[int]:
    """What a good handler returns."""
    return [event]


class Protocol(RuleBasedStateMachine):
    """Submitters, agents, a canceller and a reconciler, in any order."""

    works = Bundle("works")

    @initialize(count=st.integers(1, 9), bundle_size=st.integers(1, 4), attempts=st.integers(1, 3))
    def start(self, count: int, bundle_size: int, attempts: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.clock = ManualClock()
        self.plane = memory_plane(Path(self.folder.name), clock=self.clock)
        self.sessions: dict[str, ModelSession] = {}
        self.holders: dict[tuple[str, str], str] = {}  # whose commit of a bundle counts
        self.moved: set[tuple[str, int]] = set()  # tasks that ran out of memory where they began
        self.sent: list[SentCommit] = []
        self.hints: set[Hint] = set()
        self.submit(count, bundle_size, attempts, None, None)

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        try:
            self._let_it_end()
        finally:
            self.folder.cleanup()

    # Submitters

    @precondition(lambda self: len(self.sessions) < MAX_SESSIONS)
    @rule(
        count=st.integers(0, 9),
        bundle_size=st.integers(1, 4),
        attempts=st.integers(1, 3),
        max_failures=st.sampled_from([None, None, 0, 2]),
        timeout=st.sampled_from([None, None, 90.0]),
    )
    def submit(
        self, count: int, bundle_size: int, attempts: int, max_failures: int | None, timeout: float | None
    ) -> None:
        options = self._options(bundle_size, attempts, max_failures, timeout)
        model = self._new(list(range(count)), options)
        self._send(self.plane, model)

    @precondition(lambda self: len(self.sessions) < MAX_SESSIONS)
    @rule(number=st.integers(1, 9), applied=st.booleans(), attempts=st.integers(1, 2))
    def submitter_dies(self, number: int, applied: bool, attempts: int) -> None:
        model = self._new(list(range(BEGUN_EVENTS)), self._options(1, attempts, None, None))
        try:
            self._send(failing_at(self.plane, number, Crash, applied=applied), model)
        except Crash:
            self._learn(model)

    @rule(data=st.data())
    def nuisance(self, data: st.DataObject) -> None:
        """What users and networks do now and then; one rule, so that most steps are work."""
        kinds = [self.submit_again, self.submit_another_body, self.cancel, self.replay_a_commit]
        data.draw(st.sampled_from(kinds))(data)

    def submit_again(self, data: st.DataObject) -> None:
        """The same body under the same token is the same session, begun, running or ended."""
        model = self._any(data)
        before = self._row(model)
        try:
            row = self._send(self.plane, model)
        except IllegalTransition:
            assert before is not None
            assert before.state is SessionState.CANCELLING  # what was cancelled while it was written never runs
            assert not model.written
            return
        if before is not None and before.acknowledged:
            assert row == before
        elif before is None or before.ended:  # nothing of an aborted try is left
            model.outcomes.clear()
            model.cancelled, model.end = False, None
            self.moved = {key for key in self.moved if key[0] != model.session_id}
            self.holders = {key: token for key, token in self.holders.items() if key[0] != model.session_id}
        model.written = True

    def submit_another_body(self, data: st.DataObject) -> None:
        model = self._any(data)
        change = data.draw(st.sampled_from(["events", "fewer", "name"]))
        if not model.events or not model.written:
            return
        before = self._row(model)
        events, options = list(model.events), dict(model.options)
        if change == "events":
            events[-1] = "another"
        elif change == "fewer":
            events.pop()
        else:
            options["name"] = "another"
        with pytest.raises(SessionConflict):
            submit(self.plane, model.session_id, spec(**options), events, idempotent=True)
        assert self._row(model) == before

    def cancel(self, data: st.DataObject) -> None:
        model = self._any(data)
        if self._row(model) is None:
            return
        row = cancel(self.plane, model.session_id, actor="ada")
        if row.state is SessionState.CANCELLING:
            model.cancelled = True

    # Agents

    @rule(target=works, skew=skews, limit=st.integers(1, 4), pool=pools)
    def claim(self, skew: float, limit: int, pool: str) -> Any:
        plane = self._as_seen_with(skew)
        messages = plane.queue.receive(pool, limit, plane.clock.now()).messages
        self.hints |= {message.hint for message in messages}
        works = [self._claim(plane, message.hint) for message in messages]
        return multiple(*(work for work in works if work is not None))

    @rule(target=works, data=st.data(), skew=skews)
    def claim_by_an_old_or_forged_hint(self, data: st.DataObject, skew: float) -> Any:
        """S8: any hint that ever was, or that never was."""
        forged = [Hint("s-nobody", "00000000"), Hint("t-0000", "00000077"), Hint("t-0001", "00000000.ffff")]
        hint = data.draw(st.sampled_from([*sorted(self.hints, key=repr), *forged]))
        work = self._claim(self._as_seen_with(skew), hint)
        return multiple() if work is None else work

    @rule(work=works, skew=skews)
    def renew(self, work: Work, skew: float) -> None:
        (found,) = renew(self._as_seen_with(skew), [(work.bundle, work.lease)], limits.LEASE_SECONDS)
        assert found.held is self._is_held(work)

    @rule(target=works, data=st.data(), skew=skews, keep=st.booleans(), pool=pools)
    def claim_and_commit(self, data: st.DataObject, skew: float, keep: bool, pool: str) -> Any:
        """What agents do most of the time."""
        for message in self.plane.queue.receive(pool, 3, self.clock.now()).messages:
            self.hints.add(message.hint)
            work = self._claim(self.plane, message.hint)
            if work is not None:
                assert (work.bundle.pool or "default") == pool, "a bundle is told of where it queues"
                return self._settle(work, data, skew, keep)
        return multiple()

    @rule(target=works, work=consumes(works), data=st.data(), skew=skews, keep=st.booleans())
    def commit(self, work: Work, data: st.DataObject, skew: float, keep: bool) -> Any:
        """Long after the claim, perhaps: the lease may be another's by now."""
        return self._settle(work, data, skew, keep)

    def _settle(self, work: Work, data: st.DataObject, skew: float, keep: bool) -> Any:
        """Some tasks succeed, some fail, some were not begun; the rest stays with the agent or goes to others."""
        plane = self._as_seen_with(skew)
        kinds = ["good", "bad", "left", "hungry"]
        plans = {index: data.draw(st.sampled_from(kinds)) for index in work.bundle.indexes}

        def handler(event: Any) -> Any:
            if plans[event] == "bad":
                raise Refusing(str(event))
            if plans[event] == "hungry":
                raise MemoryError(str(event))
            return answer(event)

        done = run(plane, work, handler, [index for index in work.bundle.indexes if plans[index] != "left"])
        found = children(plane, work, done, size=2)
        kept = [child for child in found if not child.bundle.not_before and child.bundle.pool == work.bundle.pool]
        if keep and kept:
            lease = Lease(work.lease.epoch + 1, plane.token(), plane.clock.now() + 30, work.lease.owner)
            staying = [index for child in kept for index in child.bundle.indexes]
            others = [child for child in found if child not in kept]
            bundle = child_of(work.bundle, child_id(work.bundle, work.lease.epoch, 99), staying)
            goes_on = Child(bundle, lease)
            if self._commit(plane, work, done.outcomes, [*others, goes_on]) and self._row_of(work).state in (
                SessionState.SUBMITTED, SessionState.RUNNING, SessionState.CANCELLING,
            ):  # fmt: skip
                self.holders[work.bundle.session_id, bundle.bundle_id] = lease.token
                return replace(work, bundle=bundle, lease=lease)
            return multiple()
        self._commit(plane, work, done.outcomes, found)
        return multiple()

    @rule(work=consumes(works))
    def die(self, work: Work) -> None:
        """An agent forgets what it held."""

    def replay_a_commit(self, data: st.DataObject) -> None:
        """S8: accepted before or not, sent again it changes nothing."""
        if self.sent:
            self._replay(data.draw(st.sampled_from(self.sent)))

    # Everybody else

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 29.0, 31.0, 100.0, 601.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.pass_(seconds)

    @rule(skew=skews)
    def reconcile(self, skew: float) -> None:
        reconcile(self._as_seen_with(skew), limits.LOCAL_RECONCILE_TICK_SECONDS)

    # What always holds

    @invariant()
    def sessions_are_as_they_should_be(self) -> None:
        for model in getattr(self, "sessions", {}).values():
            row = self._row(model)
            if row is None:
                assert not model.written
                continue
            model.check(row)
            self._check_tasks(model, row)
            assert_history_chains(self.plane.store, model.session_id)

    def _check_tasks(self, model: ModelSession, row: SessionRecord) -> None:
        """Each task has its one outcome, as it was committed, or is in exactly one open bundle."""
        seen: dict[int, Any] = {}
        for page in self.plane.store.outcome_pages(model.session_id, 0, 1000):
            for outcome in results.page_outcomes(self.plane, model.session_id, spec(), page):
                assert outcome.index not in seen, "two results of one task"
                seen[outcome.index] = None if outcome.failed else decode_json(outcome.payload)
        assert seen == model.outcomes
        open_bundles = self.plane.store.open_bundles(model.session_id, "", 1000)
        waiting = [index for found in open_bundles for index in found.bundle.indexes]
        there = [index for found in open_bundles for index in found.bundle.indexes if found.bundle.pool]
        assert set(there) == {index for of, index in self.moved if of == model.session_id} & set(waiting)
        assert {found.bundle.pool for found in open_bundles} <= {"", "large"}
        if row.ended:
            assert waiting == []
        else:
            assert sorted([*waiting, *seen]) == list(range(row.counters.total))

    # The end

    def _let_it_end(self) -> None:
        """S1: without any more trouble, everything ends; and whatever was ever sent, sent again, changes nothing."""
        for _ in range(40):
            self.clock.pass_(limits.SUBMIT_STALL_SECONDS)
            reconcile(self.plane, limits.LOCAL_RECONCILE_TICK_SECONDS)
            self._finish("default")
            self._finish("large")
            if not self.plane.store.live_sessions():
                break
        assert self.plane.store.live_sessions() == []
        self.sessions_are_as_they_should_be()
        for sent in self.sent:
            self._replay(sent)
        for hint in sorted(self.hints, key=repr):
            assert take(self.plane, hint) is None
        self.sessions_are_as_they_should_be()

    def _finish(self, pool: str) -> None:
        finish(self.plane, answer, pool)
        for model in self.sessions.values():
            row = self._row(model)
            if row is None:
                continue
            for page in self.plane.store.outcome_pages(model.session_id, 0, 1000):
                for outcome in results.page_outcomes(self.plane, model.session_id, spec(), page):
                    value = None if outcome.failed else decode_json(outcome.payload)
                    assert model.outcomes.setdefault(outcome.index, value) == value, "a result changed"

    # Doing and knowing

    @staticmethod
    def _options(bundle_size: int, attempts: int, max_failures: int | None, timeout: float | None) -> dict[str, Any]:
        return {
            "bundle_size": bundle_size,
            "retry": {"max_attempts": attempts, "on_out_of_memory": "large"},
            "max_failures": max_failures,
            "timeout_seconds": timeout,
        }

    def _new(self, events: list[Any], options: dict[str, Any]) -> ModelSession:
        model = ModelSession(f"t-{len(self.sessions):04d}", events, options)
        self.sessions[model.session_id] = model
        return model

    def _send(self, plane: Plane, model: ModelSession) -> SessionRecord:
        row = submit(plane, model.session_id, spec(**model.options), model.events, idempotent=True)
        self._learn(model)
        return row

    def _learn(self, model: ModelSession) -> None:
        """What a submission that came so far has written."""
        row = self._row(model)
        model.written = row is not None and row.acknowledged
        for found in self.plane.store.open_bundles(model.session_id, "", 1000):
            self.hints.add(Hint(model.session_id, found.bundle.bundle_id))

    def _any(self, data: st.DataObject) -> ModelSession:
        return data.draw(st.sampled_from(list(self.sessions.values())))

    def _row(self, model: ModelSession) -> SessionRecord | None:
        try:
            return self.plane.store.session(model.session_id, self.clock.now())
        except SessionNotFound:
            return None

    def _row_of(self, work: Work) -> SessionRecord:
        return self.plane.store.session(work.bundle.session_id, self.clock.now())

    def _as_seen_with(self, skew: float) -> Plane:
        return replace(self.plane, clock=SkewedClock(self.clock, skew))

    def _claim(self, plane: Plane, hint: Hint) -> Work | None:
        model = self.sessions.get(hint.session_id)
        row = None if model is None else self._row(model)
        work = take(plane, hint)
        if work is not None:
            assert row is not None
            assert row.state in (SessionState.SUBMITTED, SessionState.RUNNING)
            assert work.events is not None
            self.holders[hint.session_id, hint.bundle_id] = work.lease.token
        return work

    def _is_held(self, work: Work) -> bool:
        """Whether a commit of this work must be accepted: S4, exactly."""
        bundle = work.bundle
        if self.holders.get((bundle.session_id, bundle.bundle_id)) != work.lease.token:
            return False
        return not self._row_of(work).ended

    def _commit(self, plane: Plane, work: Work, outcomes: Outcomes, found: Sequence[Child]) -> bool:
        model = self.sessions[work.bundle.session_id]
        expected = self._is_held(work)
        try:
            commit(plane, work, outcomes, found, None)
            accepted = True
        except LeaseLost:
            accepted = False
        note(f"commit of {work.bundle.bundle_id} of {model.session_id} by {work.lease.token}: {accepted}")
        assert accepted is expected
        self.sent.append(SentCommit(work, outcomes, found, accepted))
        if accepted:
            del self.holders[work.bundle.session_id, work.bundle.bundle_id]
            moved = [child.bundle for child in found if child.bundle.pool and not work.bundle.pool]
            self.moved |= {(model.session_id, index) for bundle in moved for index in bundle.indexes}
            self.hints |= {Hint(c.bundle.session_id, c.bundle.bundle_id) for c in found}
            for outcome in outcomes:
                assert outcome.index not in model.outcomes
                model.outcomes[outcome.index] = None if outcome.failed else decode_json(outcome.payload)
        return accepted

    def _replay(self, sent: SentCommit) -> None:
        model = self.sessions[sent.work.bundle.session_id]
        if (row := self._row(model)) is not None:
            finalize(self.plane, row)  # its deadline may have passed, which any commit that comes now would tell
        before = self._row(model), self.plane.store.open_bundles(model.session_id, "", 1000)
        with contextlib.suppress(LeaseLost):  # refused before, or its session has made way for another since
            assert commit(self.plane, sent.work, sent.outcomes, sent.children, None) == before[0]
        assert (self._row(model), self.plane.store.open_bundles(model.session_id, "", 1000)) == before


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(max_examples=3 * settings().max_examples, stateful_step_count=60)
