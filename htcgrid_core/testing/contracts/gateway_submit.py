"""The contract of a gateway: submitting, again and wrongly."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.codecs.events import EncodedEvent, SharingEvent, encoded
from htcgrid_core.domain.errors import (
    InvalidEvent,
    InvalidInput,
    SessionConflict,
    SessionNotFinished,
    SessionNotFound,
)
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.gateway.protocol import Gateway
from htcgrid_core.testing.contracts.gateway_given import (
    FOR_EVER,
    UNKNOWN,
    GivenGateway,
    Work,
    done,
    ended,
    seen,
    spec,
    spec_of,
    submitted,
)


def _token() -> str:
    return uuid.uuid4().hex


class GatewaySubmitContract(GivenGateway):
    """Submissions are acknowledged, idempotent by their token, and refused before anything is written."""

    def test_submits(self, gateway: Gateway, work: Work) -> None:
        """What is returned is the acknowledged row, and the tasks run."""
        record = submitted(gateway, [1, 2, 3], of=spec(name="book", labels={"desk": "rates"}))
        assert record.acknowledged
        assert record.counters.total == 3
        assert (record.name, spec_of(record).labels) == ("book", {"desk": "rates"})
        assert ended(gateway, record, work).state is SessionState.COMPLETED

    def test_submits_nothing(self, gateway: Gateway, work: Work) -> None:
        """No events are a session that is over."""
        assert done(gateway, [], work).state is SessionState.COMPLETED

    def test_streams_what_it_cannot_count(self, gateway: Gateway, work: Work) -> None:
        """Events of an unknown number, told how far it is."""
        told: list[int] = []
        record = gateway.submit(
            session_id_of(None),
            spec(),
            encoded("json", iter(range(1000))),
            total=None,
            idempotent=False,
            on_progress=told.append,
        )
        assert told == sorted(told)
        assert told[-1] == record.counters.total == 1000
        assert ended(gateway, record, work).counters.completed == 1000

    def test_the_same_token_again_is_the_same_session(self, gateway: Gateway, work: Work) -> None:
        """Before and after its end."""
        token = _token()
        first = submitted(gateway, [1, 2], token=token)
        assert submitted(gateway, [1, 2], token=token).session_id == first.session_id
        ended(gateway, first, work)
        again = submitted(gateway, [1, 2], token=token)
        assert (again.session_id, again.state) == (first.session_id, SessionState.COMPLETED)

    @pytest.mark.parametrize("other", ["events", "options"])
    def test_the_same_token_for_another_body(self, gateway: Gateway, other: str) -> None:
        """A conflict, and the first session stays as it is."""
        token = _token()
        first = submitted(gateway, [1, 2], token=token)
        options: dict[str, Any]
        events, options = ([1, 3], {}) if other == "events" else ([1, 2], {"name": "another"})
        with pytest.raises(SessionConflict):
            submitted(gateway, events, token=token, of=spec(**options))
        assert gateway.session(first.session_id).counters.total == 2

    @pytest.mark.parametrize(
        ("session_id", "options"),
        [
            ("../s-elsewhere", {}),
            ("S-UPPER-CASE", {}),
            ("", {}),
            ("other.s-of-another-tenant", {}),
            ("s-of-no-tenant", {"tenant": "mine"}),
        ],
    )
    def test_ids_that_are_none(self, gateway: Gateway, session_id: str, options: dict[str, Any]) -> None:
        """Rows and objects are named by them."""
        with pytest.raises(InvalidInput):
            gateway.submit(session_id, spec(**options), encoded("json", [1]), total=1, idempotent=False)
        with pytest.raises(SessionNotFound):
            gateway.session(session_id)

    def test_a_pool_that_nobody_serves(self, gateway: Gateway) -> None:
        """Such a session would wait for ever."""
        token = _token()
        with pytest.raises(InvalidInput, match="nowhere"):
            submitted(gateway, [1], token=token, of=spec(pool="nowhere"))
        self._nothing_is_there(gateway, token)

    def test_a_callable_that_is_not_there(self, gateway: Gateway) -> None:
        """It was put into another grid."""
        function = FunctionSpec(name="m:f", blob=f"functions/{'0' * 64}", call="event")
        token = _token()
        with pytest.raises(InvalidInput):
            submitted(gateway, [1], token=token, of=spec(function, codec="pickle"))
        self._nothing_is_there(gateway, token)

    def test_a_shared_input_that_is_not_there(self, gateway: Gateway) -> None:
        """As is one of its events'."""
        sent = [SharingEvent(b"{}", (f"{'0' * 64}.json",))]
        token = _token()
        with pytest.raises(InvalidInput):
            submitted(gateway, [{}], token=token, sent=sent)
        self._nothing_is_there(gateway, token)

    def test_an_event_that_cannot_be_encoded(self, gateway: Gateway) -> None:
        """What iterating raises is raised, and nothing was submitted."""

        def events() -> Iterator[EncodedEvent]:
            yield b"1"
            raise InvalidEvent(1, "it is no good")

        token = _token()
        with pytest.raises(InvalidEvent) as caught:
            submitted(gateway, [1, 2], token=token, sent=events())
        assert caught.value.index == 1
        self._nothing_is_there(gateway, token)

    @staticmethod
    def _nothing_is_there(gateway: Gateway, token: str) -> None:
        with pytest.raises(SessionNotFound):
            gateway.session(session_id_of(token))

    # Resubmitting

    def test_resubmits_what_is_not_completed(self, gateway: Gateway, work: Work) -> None:
        """A session of its own, whose outcomes fill the gaps of its parent."""
        parent = done(gateway, [1, {"raise": "no"}, 3, {"raise": "never"}], work)
        assert parent.state is SessionState.FAILED
        trace = f"00-{'5' * 32}-{'6' * 16}-01"
        child = gateway.resubmit(
            session_id_of(None), parent.session_id, idempotent=False, traceparent=trace, tracestate="a=b"
        )
        assert child.counters.total == 2
        assert (spec_of(child).parent_id, spec_of(child).tracestate) == (parent.session_id, "a=b")
        assert spec_of(child).traceparent == trace
        child = ended(gateway, child, work)
        assert {index: task.error.message for index, task in seen(gateway, child).items() if task.error} == {
            0: "no",
            1: "never",
        }
        merged = [(index, outcome.failed) for index, outcome in gateway.outcomes(child) if outcome is not None]
        assert merged == [(0, False), (1, True), (2, False), (3, True)]

    def test_resubmits_once_under_a_token(self, gateway: Gateway, work: Work) -> None:
        """Again under the same token is the same session; of another parent, a conflict."""
        parent, other = (done(gateway, [{"raise": text}], work) for text in ("one", "two"))
        session_id = session_id_of(_token())
        for _ in range(2):
            child = gateway.resubmit(session_id, parent.session_id, idempotent=True)
            assert (child.session_id.startswith(session_id), child.counters.total) == (True, 1), "a region may follow"
        with pytest.raises(SessionConflict):
            gateway.resubmit(session_id, other.session_id, idempotent=True)

    def test_does_not_resubmit_what_runs(self, gateway: Gateway) -> None:
        """It may still complete."""
        running = submitted(gateway, [FOR_EVER])
        with pytest.raises(SessionNotFinished, match=running.session_id):
            gateway.resubmit(session_id_of(None), running.session_id, idempotent=False)
        gateway.cancel(running.session_id, reason="the test is over")

    def test_does_not_resubmit_what_is_not_there(self, gateway: Gateway) -> None:
        """Nor under an id of another tenant."""
        with pytest.raises(SessionNotFound):
            gateway.resubmit(session_id_of(None), UNKNOWN, idempotent=False)
        with pytest.raises(InvalidInput):
            gateway.resubmit(session_id_of(None, "mine"), UNKNOWN, idempotent=False)
