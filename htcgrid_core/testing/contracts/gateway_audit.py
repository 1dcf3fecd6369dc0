"""The contract of a gateway: who did what, and what it cost."""

from __future__ import annotations

import hashlib
import math
import time

import orjson
import pytest

from htcgrid_core.client.audit_files import verified
from htcgrid_core.domain.errors import InvalidInput, SessionNotFound, SignatureInvalid
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.gateway.protocol import Gateway
from htcgrid_core.testing.contracts.facts import eventually
from htcgrid_core.testing.contracts.gateway_given import FOR_EVER, UNKNOWN, GivenGateway, Work, done, submitted


class GatewayAuditContract(GivenGateway):
    """Entries are found by session and by time, exports tell whether they were changed, costs follow the prices."""

    def test_the_audit_of_a_session(self, gateway: Gateway, work: Work) -> None:
        """From its submit to its end, each with who did it."""
        record = done(gateway, [1, 2], work)
        found = gateway.audit(record.session_id)
        assert (found[0].event, found[-1].after) == ("submit", SessionState.COMPLETED)
        assert all(one.session_id == record.session_id and one.actor for one in found)
        assert gateway.audit(UNKNOWN) == []

    def test_the_audit_by_time(self, gateway: Gateway) -> None:
        """Newest first, page after page, and what is asked for alone."""
        before = time.time()
        record = submitted(gateway, [FOR_EVER])
        gateway.cancel(record.session_id, reason="the test is over")

        def mine() -> list[str]:
            events, cursor = [], None
            while True:
                page = gateway.audit_page(before - 1, math.inf, 2, cursor)
                events += [one.event for one in page.entries if one.session_id == record.session_id]
                if (cursor := page.cursor) is None:
                    return events

        seen = eventually(mine, lambda events: "cancel" in events and "submit" in events)
        assert seen.index("cancel") < seen.index("submit")
        assert gateway.audit_page(time.time() + 3600, math.inf).entries == []

    def test_an_export_tells_whether_it_was_changed(self, gateway: Gateway, work: Work) -> None:
        """Whatever was done to it: a line changed, added, moved or taken away, or its sum made anew."""
        since = time.time() - 0.01  # an answer of a server that is a function is small
        done(gateway, [1], work)
        lines = eventually(lambda: list(gateway.audit_export(since, math.inf)), lambda found: len(found) > 3)
        assert verified(gateway, lines) == len(lines) - 2
        forged = lines[1].replace(b'"event":"', b'"event":"un')
        for changed in (
            [lines[0], forged, *lines[2:]],
            [lines[0], lines[1], *lines[1:]],
            [lines[0], lines[2], lines[1], *lines[3:]],
            [lines[0], *lines[2:]],
            [*lines[:-2], lines[-1]],
        ):
            with pytest.raises(SignatureInvalid):
                verified(gateway, changed)
        body = [lines[0], forged, *lines[2:-1]]
        said = {**orjson.loads(lines[-1]), "sha256": hashlib.sha256(b"".join(body)).hexdigest()}
        with pytest.raises(SignatureInvalid, match="has not written"):
            verified(gateway, [*body, orjson.dumps(said) + b"\n"])
        for cut in (lines[:-1], lines[1:], [], [*lines[:-1], lines[-1][:-1]]):
            with pytest.raises(InvalidInput):
                verified(gateway, cut)
        other = {**orjson.loads(lines[-1]), "key": "00000000"}
        with pytest.raises(InvalidInput, match="no key"):
            verified(gateway, [*lines[:-1], orjson.dumps(other) + b"\n"])

    def test_the_cost_of_a_session(self, gateway: Gateway, work: Work) -> None:
        """What it took is there whatever the prices are."""
        record = done(gateway, [1, 2, 3], work)
        found = gateway.cost(record.session_id)
        assert (found.session_id, found.is_final, found.spent.tasks) == (record.session_id, True, 3)
        assert found.cost.total >= 0
        assert found.prices
        assert found.note
        with pytest.raises(SessionNotFound):
            gateway.cost(UNKNOWN)

    def test_costs_by_day(self, gateway: Gateway, work: Work) -> None:
        """Each session that has ended is in the total of its day."""
        today = time.strftime("%Y-%m-%d", time.gmtime())
        done(gateway, [1, 2], work)
        rows = eventually(lambda: gateway.costs().rows, bool)
        assert all(row.sessions > 0 for row in rows)
        assert rows[0].day >= today
        tasks = sum(row.tasks for row in rows)
        done(gateway, [1, 2], work)
        eventually(lambda: sum(row.tasks for row in gateway.costs().rows), lambda found: found >= tasks + 2)
        assert gateway.costs("2000-01-01", "2000-01-02").rows == ()
        (none,) = {row.key for row in gateway.costs(by="label:nobody-has-this").rows}
        assert none == ""

    @pytest.mark.parametrize(
        "asked",
        [
            ("2026-02-30", None, "tenant"),
            ("2026-02-02", "2026-02-01", "tenant"),
            ("2026-01-01", "2026-02-01", "tenant"),
            (None, None, "colour"),
            (None, None, "label:"),
        ],
    )
    def test_costs_that_cannot_be_told(self, gateway: Gateway, asked: tuple[str | None, str | None, str]) -> None:
        """No such day, days that end before they begin, too many, or nothing that they are summed up by."""
        with pytest.raises(InvalidInput):
            gateway.costs(*asked)

    def test_an_estimate_rests_on_earlier_sessions(self, gateway: Gateway, work: Work) -> None:
        """Of the function; of one that nobody ran nothing is known."""
        record = done(gateway, [1, 2], work)
        function = record.spent.function
        found = eventually(lambda: gateway.estimate(function, 1000), lambda one: one.cost is not None)
        assert found.sessions >= 1
        assert found.tasks == 1000
        unknown = gateway.estimate("nobody.runs_this", 1000)
        assert (unknown.cost, unknown.sessions) == (None, 0)
        with pytest.raises(InvalidInput):
            gateway.estimate(function, 0)
