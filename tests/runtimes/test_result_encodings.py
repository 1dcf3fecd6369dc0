"""Results of deployed Python functions: what AWS's client makes of them, and that native workers make the same."""

from __future__ import annotations

import json
from decimal import Decimal
from importlib import metadata
from typing import Any

import pytest

from htcgrid_core import Session
from htcgrid_core.codecs.outcomes import decode_error
from htcgrid_core.codecs.values import decode_json
from htcgrid_core.services import functions
from tests.runtimes.both import ONCE, PROBE, Both
from tests.runtimes.tables import check, lines_of

RETURNED = [
    'Decimal("1.10")', 'Decimal("1E+3")', 'Decimal("NaN")', 'float("inf")', "2**70", '{1: "a", None: "b"}', "(1, 2)",
    "Quote(1.5, 1.75)", "Row()", 'OrderedDict(a=1)', '{"note": b"text"}', 'b\'{"already": 1.10}\'', 'b"text"',
    'bytearray(b"text")', "{1, 2}", "date(2026, 11, 29)", "datetime(2026, 11, 29, 8, 30)", "UUID(int=7)", "Side.BUY",
    "Rank.FIRST", "Desk.RATES", "Trade(7)", "object()", '"\\ud800"', '{(1, 2): "a"}', '{Decimal("1.5"): "a"}',
]  # fmt: skip
REFUSED = "InvalidResult"


def stored(session: Session) -> list[tuple[str, str]]:
    """Of each task its result, as it is stored and as Python reads it; or how it failed."""
    told = []
    for _, outcome in session._gateway.outcomes(session._record):
        assert outcome is not None
        if outcome.failed:
            told.append((decode_error(outcome.payload).type, ""))
        else:
            text = bytes(outcome.payload).decode("utf-8", "surrogatepass")
            told.append((text.strip(), repr(decode_json(outcome.payload))))
    return told


def digits(text: str) -> Any:
    """All that is written, each number with its digits."""
    return text if text == REFUSED else repr(json.loads(text, parse_float=lambda number: repr(Decimal(number))))


def test_native_workers_encode_as_the_client_does(both: Both) -> None:
    sessions = both.sessions("returns", *RETURNED)
    client, native = stored(sessions["awslambdaric"]), stored(sessions["native"])
    for returned, (text, read), (own_text, own_read) in zip(RETURNED, client, native, strict=True):
        assert (own_read, digits(own_text)) == (read, digits(text)), returned
    rows = [
        (f"`{returned}`", "refused", "") if text == REFUSED else (f"`{returned}`", f"`{text}`", f"`{read}`")
        for returned, (text, read) in zip(RETURNED, client, strict=True)
    ]
    version = metadata.version("awslambdaric")
    check("results", lines_of(("a handler returns", f"awslambdaric {version} posts", "Python reads"), rows))


def test_versions_of_before_keep_their_encoding(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that an earlier release has deployed."""
    grid = both.grids["native"]
    with monkeypatch.context() as earlier:
        earlier.setattr(functions, "PYTHON_ENCODING", "grid")
        before = grid.deploy("before", PROBE, handler="returns.handler", timeout=30)
    assert (before.min_agent_version, before.spec().model_dump_json().find("encoding")) == (1, -1)
    session = grid.submit("before", ["Side.BUY", "Quote(1.5, 1.75)", 'Decimal("1.10")', "None"], retry=ONCE)
    session.wait()
    assert [text for text, _ in stored(session)] == ['"buy"', "[1.5,1.75]", REFUSED, "null"]
    again = grid.deploy("before", PROBE, handler="returns.handler", timeout=30)
    assert (again.name, again.encoding) == ("before:2", "lambda"), "who deploys it again has what is new"
