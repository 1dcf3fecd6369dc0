"""Waiting for sessions: what it costs, counted at the wire, and what AWS may do meanwhile."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import pytest

from htcgrid_core import connect
from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.keys import session_key
from htcgrid_core.adapters.aws.dynamodb.schema import PARTITION, SORT
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.sqs import batches
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.plane import open_cloud
from htcgrid_core.domain import patience
from htcgrid_core.domain.bundle import root_id
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import Counters
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.services import call_retries
from htcgrid_core.services.commit import commit
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import eventually
from tests.aws.emulators import Account
from tests.aws.faulty_proxy import troubled
from tests.aws.grids import CloudUnderTest, url_of
from tests.aws.meter import Meter
from tests.aws.scripted_proxy import Answer, scripted
from tests.manual_agent import run, take

SESSIONS = 2000
CALLS_A_POLL = 20


@pytest.mark.slow
def test_two_thousand_sessions_are_waited_for_with_twenty_calls_a_poll(aws_cloud: CloudUnderTest) -> None:
    """By one process, whatever they are: of one lane each, or ended. Sixteen lanes cost more while they are live."""
    session = aws_cloud.account.session()
    with connect(aws_cloud.url, aws_session=session) as grid:
        meter = Meter(aws_cloud.account, "")
        meter.count(session)
        ids = [f"s-{number:04d}" for number in range(SESSIONS)]
        cloud = open_cloud(parse_aws(aws_cloud.url))
        table = Table(lambda: cloud.clients.dynamodb, cloud.parameter.table, sleep=time.sleep)
        table.put_many([_row(session_id) for session_id in ids])
        meter.calls.clear()
        for poll in range(1, 3):
            found = grid.progress(ids)
            assert [one.session_id for one in found] == ids
            assert {(one.total, one.completed, one.pending) for one in found} == {(3, 1, 2)}
            assert meter.calls.total() <= CALLS_A_POLL * poll, dict(meter.calls)


@pytest.mark.parametrize(
    ("mood", "refused"), [("breaks", 8), ("expires", 3), pytest.param("throttles", 20, marks=pytest.mark.slow)]
)
def test_what_aws_does_in_an_ordinary_day(
    aws_cloud: CloudUnderTest,
    mood: Literal["breaks", "throttles", "expires"],
    refused: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Errors, throttling, a token that expires: the results come once it is over.

    More calls are refused than one is repeated by itself.
    """
    monkeypatch.setattr(patience, "FIRST_PAUSE_SECONDS", 0.01)
    sound = open_cloud(parse_aws(aws_cloud.url)).plane
    with (
        troubled(aws_cloud.account.url) as aws,
        connect(url_of(Account(aws.url, aws_cloud.account.id))) as grid,
        ThreadPoolExecutor(1) as waiting,
    ):
        session = grid.submit(abs, [-1, -2], bundle_size=2)
        aws.be(mood)
        asked = aws.asked.total()
        results = waiting.submit(lambda: list(session.results()))
        eventually(aws.asked.total, lambda now: now >= asked + refused)
        work = take(sound, Hint(session.id, root_id(0)))
        assert work is not None
        commit(sound, work, run(sound, work, abs).outcomes, [], None)
        assert not results.done()
        aws.be("well")
        assert results.result(60) == [1, 2]


def test_a_submit_whose_messages_are_all_refused(
    aws_cloud: CloudUnderTest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Is submitted: what is written is enough for the reconciler."""
    monkeypatch.setattr(batches, "BASE_SECONDS", 0.0)
    monkeypatch.setattr(call_retries, "BASE_SECONDS", 0.0)
    refused = '{"Successful":[],"Failed":[{"Id":"0","SenderFault":false,"Code":"InternalError","Message":"no"}]}'
    with (
        scripted(aws_cloud.account.url) as aws,
        connect(url_of(Account(aws.url, aws_cloud.account.id))) as grid,
        caplog.at_level(logging.WARNING),
    ):
        aws.answers.append(Answer("SendMessageBatch", 200, refused, times=1 << 30))
        session = grid.submit(abs, [-1, -2], bundle_size=2)
        assert f"session {session.id} is submitted" in caplog.text
        aws.answers.clear()
        assert session.progress().pending == 2
    sound = open_cloud(parse_aws(aws_cloud.url)).plane
    work = take(sound, Hint(session.id, root_id(0)))
    assert work is not None


def _row(session_id: str) -> Item:
    """A session that runs, as submit and a commit leave it."""
    counters = Counters(total=3)
    record = replace(given.record(session_id), state=SessionState.RUNNING, counters=counters, bundles=1)
    row = items.new_session(record, "00000000", 1)
    partition, sort = session_key(session_id)
    return {PARTITION: partition, SORT: sort, **row, "ok": 1, "pend": 2, "hist": []}
