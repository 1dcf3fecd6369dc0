"""Sizes: bundles that were moved to another pool, what pools have, and what functions use."""

from __future__ import annotations

from dataclasses import replace

from htcgrid_core.domain import limits
from htcgrid_core.domain.bundle import Child, child_id, child_of, root_id
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.domain.usage import FunctionUsage, measured
from htcgrid_core.ports.session_store import AgentRecord, SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import assert_counters_exact, eventually
from htcgrid_core.testing.contracts.given import FULL_PAGE, NOW, SESSION

FIRST = root_id(0)
AGENT = AgentRecord("agent-1", "default", "host", 7, 4, 1, NOW)
USED = measured("pricing:3", 10, 900.0, 4.0, 5.0, NOW)


class SizesContract:
    """Bundles with a pool of their own, pools and usage."""

    def test_a_moved_bundle_says_its_pool_wherever_it_is_met(self, store: SessionStore) -> None:
        """To who claims it, who looks for what is ready, who lists what is open; and to what comes of it."""
        given.running(store, [6])
        held = given.claimed(store, FIRST)
        stays, goes = (
            given.child(held, 0, [2, 3], failures={2: 1, 3: 1}),
            given.child(held, 1, [4, 5], failures={4: 1, 5: 1}),
        )
        goes = Child(replace(goes.bundle, pool="large"))
        commit = given.commit(held, [0, 1], [], stays, goes)
        for _ in range(2):
            store.commit(commit)

        def pools() -> dict[str, str]:
            return {hint.bundle_id: hint.pool for hint in store.runnable(SESSION, NOW, FULL_PAGE)}

        seen = eventually(pools, lambda found: len(found) == 2)
        assert seen[goes.bundle.bundle_id] == "large"
        assert seen[stays.bundle.bundle_id] in ("", "default")
        answer = given.refused(store, FIRST)
        assert {hint.bundle_id: hint.pool == "large" for hint in answer.children} == {
            stays.bundle.bundle_id: False, goes.bundle.bundle_id: True,
        }  # fmt: skip
        moved = given.claimed(store, goes.bundle.bundle_id, "another")
        assert (moved.bundle.pool, dict(moved.bundle.failures)) == ("large", {4: 1, 5: 1})
        assert given.claimed(store, stays.bundle.bundle_id, "third").bundle.pool == ""
        rest = Child(child_of(moved.bundle, child_id(moved.bundle, moved.lease.epoch, 0), [5]))
        store.commit(given.commit(moved, [4], [], rest))
        found = {one.bundle.bundle_id: one.bundle.pool for one in store.open_bundles(SESSION, "", FULL_PAGE)}
        assert found == {stays.bundle.bundle_id: "", rest.bundle.bundle_id: "large"}
        assert_counters_exact(store)

    def test_the_size_of_a_pool_is_what_its_agents_said_last(self, store: SessionStore) -> None:
        """It stands when they have gone; who does not say a size changes nothing."""
        assert store.pools() == []
        store.beat(AGENT, size=PoolSize("default"))
        store.beat(AGENT, size=PoolSize("default", 512, 0.5))
        store.beat(replace(AGENT, agent_id="agent-2", pool="large"), size=PoolSize("large", 2048))
        store.beat(AGENT, size=PoolSize("default", 768, 0.5))
        store.beat(AGENT)
        store.forget_agent("agent-1")
        expected = [PoolSize("default", 768, 0.5), PoolSize("large", 2048)]
        assert eventually(store.pools, lambda found: found == expected) == expected

    def test_usage_is_each_agents_own_sum(self, store: SessionStore) -> None:
        """Told twice it counts once; several agents stand side by side, and one that has left is not forgotten."""
        store.beat(AGENT, usage=[USED, measured("pricing:4", 1, 10.0, 0.0, 1.0, NOW)])
        more = USED.plus(measured("pricing:3", 1, 1000.0, 1.0, 1.0, NOW + 1))
        for _ in range(2):
            store.beat(AGENT, usage=[more])
        store.beat(
            replace(AGENT, agent_id="agent-2"),
            usage=[FunctionUsage("pricing:3", out_of_memory=2, too_little_mb=512, at=NOW)],
        )

        def usage() -> FunctionUsage | None:
            together = None
            for each in store.usage("pricing:3", now=NOW + 1):
                together = each if together is None else together.plus(each)
            return together

        expected = more.plus(FunctionUsage("pricing:3", out_of_memory=2, too_little_mb=512, at=NOW))
        assert eventually(usage, lambda found: found == expected) == expected
        for agent_id in ("agent-1", "agent-2", "agent-1"):
            store.forget_agent(agent_id)
        assert eventually(usage, lambda found: found == expected) == expected
        assert {each.function for each in store.usage("pricing:", now=NOW)} == {"pricing:3", "pricing:4"}
        assert store.usage("price", now=NOW) == []

    def test_usage_of_names_of_any_length_and_script(self, store: SessionStore) -> None:
        """Names are those of users' functions."""
        names = ["__main__:<lambda>", "п" * 512, "ф" * 511 + "1", "a" * 512, "a%_'\"b"]
        store.beat(AGENT, usage=[replace(USED, function=name) for name in names])

        def found() -> list[str]:
            return sorted(each.function for each in store.usage(now=NOW))

        assert eventually(found, lambda seen: len(seen) == len(names)) == sorted(names)
        for name in names:
            assert [each.function for each in store.usage(name, now=NOW)] == [name]

    def test_old_usage_is_not_told(self, store: SessionStore) -> None:
        """Functions change; what nobody has measured for long says little."""
        store.beat(AGENT, usage=[USED])
        assert eventually(lambda: store.usage(now=NOW), bool) == [USED]
        assert store.usage(now=NOW + limits.USAGE_KEPT_SECONDS + 1) == []
