"""The contract of a gateway: functions with schemas, and that nothing is written of what does not fit them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.codecs.events import EncodedEvent, encoded
from htcgrid_core.domain.errors import InvalidEvents, InvalidInput, SessionNotFound
from htcgrid_core.domain.extent import Extent
from htcgrid_core.domain.function import MAX_SCHEMA_BYTES, FunctionVersion
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.protocol import Gateway
from htcgrid_core.testing.contracts.gateway_functions import draft, package
from htcgrid_core.testing.contracts.gateway_given import GivenGateway, spec

TRADES: dict[str, Any] = {
    "type": "object",
    "properties": {"legs": {"type": "array", "items": {"required": ["notional"]}}, "on": {"format": "date"}},
    "required": ["id"],
}
GOOD = {"id": 1, "legs": [{"notional": 5}], "on": "2026-01-02"}
BAD = {"id": 1, "legs": [{"notional": 5}, {}], "on": "tomorrow"}
LARGE = "x" * 1000  # so that few thousand are more than a submission holds before it writes

Submit = Callable[..., SessionRecord]


class GatewaySchemasContract(GivenGateway):
    """What a function takes is said once, at its deployment, and holds for every session of it."""

    @pytest.fixture
    def priced(self, gateway: Gateway) -> FunctionVersion:
        """A function that takes trades."""
        name = f"f-{uuid.uuid4().hex[:12]}"
        return gateway.deploy(draft(name, events_schema=TRADES), package())

    @pytest.fixture
    def submit(self, gateway: Gateway, priced: FunctionVersion) -> Submit:
        """Submits events to it under a token."""

        def submit(events: Iterable[Any], token: str, validate: Extent = "all", total: int | None = None) -> Any:
            found: Iterator[EncodedEvent] = encoded("json", events)
            of = spec(priced.spec())
            return gateway.submit(session_id_of(token), of, found, total=total, idempotent=True, validate=validate)

        return submit

    def test_a_version_keeps_its_schemas(self, gateway: Gateway) -> None:
        """Another schema is another version, the same one is the same."""
        name = f"f-{uuid.uuid4().hex[:12]}"
        plain = gateway.deploy(draft(name), package())
        assert (plain.events_schema, plain.results_schema, plain.checks_events) == (None, None, False)
        both = gateway.deploy(draft(name, events_schema=TRADES, results_schema={"type": "number"}), package())
        assert (both.version, both.events_schema, both.results_schema) == (2, TRADES, {"type": "number"})
        assert (both.checks_events, both.checks_results) == (True, True)
        again = gateway.deploy(draft(name, events_schema=TRADES, results_schema={"type": "number"}), package())
        assert again.version == 2
        other = gateway.deploy(draft(name, events_schema=TRADES, results_schema={"type": "integer"}), package())
        assert other.version == 3
        assert gateway.function(name, 2) == both

    @pytest.mark.parametrize(
        "schema",
        [{"type": "trade"}, {"pattern": "("}, {"$ref": "https://127.0.0.1:1/trade.json"}, {"$ref": "file:///x"}],
    )
    def test_what_is_no_schema_is_not_deployed(self, gateway: Gateway, schema: dict[str, Any]) -> None:
        """Nor one that would have to be fetched from elsewhere."""
        name = f"f-{uuid.uuid4().hex[:12]}"
        for field in ("events_schema", "results_schema"):
            with pytest.raises(InvalidInput, match="no JSON Schema"):
                gateway.deploy(draft(name, **{field: schema}), package())
        assert gateway.functions(name) == []

    def test_a_schema_is_small(self) -> None:
        """It travels with requests."""
        with pytest.raises(ValueError, match="at most"):
            draft("f", events_schema={"description": "x" * MAX_SCHEMA_BYTES})

    def test_row_path_and_reason_of_what_is_refused(self, gateway: Gateway, submit: Submit) -> None:
        """Of all that is wrong with the first, and how many are; there is no such session."""
        token = uuid.uuid4().hex
        with pytest.raises(InvalidEvents) as caught:
            submit([GOOD, BAD, {}, GOOD], token, total=4)
        told = caught.value
        assert [(one.row, one.path) for one in told.problems] == [(1, "legs[1]"), (1, "on"), (2, "")]
        assert all(one.reason for one in told.problems)
        assert (told.bad, told.checked) == (2, 4)
        assert "2 of 4 events are not what they should be" in str(told)
        self._is_not_there(gateway, token)

    def test_nothing_of_a_large_vector_is_written(self, gateway: Gateway, submit: Submit) -> None:
        """Though its only mistake is at its end."""
        count, token = 5000, uuid.uuid4().hex
        with pytest.raises(InvalidEvents) as caught:
            submit(({"id": n, "text": LARGE} if n < count else {"text": LARGE} for n in range(count + 1)), token)
        assert [one.row for one in caught.value.problems] == [count]
        assert (caught.value.bad, caught.value.checked) == (1, count + 1)
        self._is_not_there(gateway, token)

    def test_the_first_twenty_are_told_and_all_counted(self, submit: Submit) -> None:
        """As a log can bear it."""
        with pytest.raises(InvalidEvents) as caught:
            submit([{}] * 50, uuid.uuid4().hex, total=50)
        assert (len(caught.value.problems), caught.value.bad) == (20, 50)

    def test_good_ones_are_submitted_as_they_came(self, gateway: Gateway, submit: Submit) -> None:
        """Few, and more than are held in memory; and again under the same token."""
        few = submit([GOOD, GOOD], uuid.uuid4().hex, total=2)
        assert few.counters.total == 2
        token, count = uuid.uuid4().hex, 5000
        many = [submit(({"id": n, "text": LARGE} for n in range(count)), token) for _ in range(2)]
        assert {(record.session_id, record.counters.total) for record in many} == {(many[0].session_id, count)}
        assert [event[:8] for event in gateway.events(many[0], count - 2)] == [b'{"id":49', b'{"id":49']
        for record in (few, many[0]):
            gateway.cancel(record.session_id, reason="the test is over")

    def test_a_sample_and_none(self, gateway: Gateway, submit: Submit) -> None:
        """The first thousand and one in a hundred after them."""
        rows = [GOOD] * 1001 + [{}] * 99 + [GOOD]
        taken = [submit(rows, uuid.uuid4().hex, "sample", len(rows)), submit([{}], uuid.uuid4().hex, "off", 1)]
        with pytest.raises(InvalidEvents, match="1 of 1,002"):
            submit([*rows[:1100], {}], uuid.uuid4().hex, "sample")
        for record in taken:
            gateway.cancel(record.session_id, reason="the test is over")

    @staticmethod
    def _is_not_there(gateway: Gateway, token: str) -> None:
        """Neither as a session nor in any list; what was uploaded to a server says why it never will be."""
        session_id = session_id_of(token)
        try:
            found = gateway.session(session_id)
        except SessionNotFound:
            return
        assert (found.ended, found.counters.total, found.acknowledged) == (True, 0, False)
        assert session_id not in {record.session_id for record in gateway.sessions()}
