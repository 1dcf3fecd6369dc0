"""A grid on AWS that the release before left behind: it is read, and its work goes on in words which that one knows."""

from __future__ import annotations

import importlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from htcgrid_core import Grid, connect
from htcgrid_core.adapters.aws.parameter import GridParameter
from htcgrid_core.adapters.aws.sqs import messages
from htcgrid_core.ports.bundle_queue import Hint
from tests.aws.emulators import Account
from tests.aws.grids import CloudUnderTest, cloud
from tests.compatibility.left_behind import (
    BOOK,
    HERE,
    RUNNING_TASKS,
    LeftBehind,
    assert_all_can_be_read,
    dump,
    unpack_aws,
)
from tests.compatibility.old_book import MENDED, OPEN
from tests.e2e.support import ended

# Attributes that later releases add to items, by kind. Every release reads an item's attributes by name, and so ignores
# these. Whoever adds one says here what it means to a release that does not know it.
ADDITIONS = {
    # Seconds of tasks, tasks that run again, and for what it costs commits, bytes and blobs: what older agents commit
    # adds none. And the folder of its blobs: what does not know it writes results beside it, and they are read there.
    "session": {"sec", "re", "nc", "bi", "bo", "no", "fo"},
    "counters": {"sec", "re", "nc", "bo", "no"},
    # Which tasks have begun, since when it runs and what it takes of memory: what it does not ask.
    "agent": {"begun", "started", "mem", "memmax"},
}
# Kinds of items of which it reads none, since it looks for none.
NEW_KINDS = {"audit", "failed attempts", "pool", "usage"}
PARTITIONS = {"AGENTS": "agent", "POOLS": "pool", "USAGE": "usage"}
# Attributes that the release before knows, and that none of the items which it left behind has.
UNSEEN = {
    "session": {"own", "ending", "cut"},
    "counters": {"closed", "cut"},
    "bundle": {"c", "par", "pt", "ka"},
    "root": {"ka"},
}
MESSAGE = {"session", "bundle", "not_before", "priority", "burials"}


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of the handlers, by the name by which sessions know it."""
    monkeypatch.syspath_prepend(HERE)
    yield importlib.import_module(BOOK)
    del sys.modules[BOOK]


@pytest.fixture
def made(aws_account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudUnderTest]:
    with cloud(aws_account, tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def left(made: CloudUnderTest, tmp_path: Path, book: ModuleType) -> LeftBehind:
    return unpack_aws(made, tmp_path)


@pytest.fixture
def grid(left: LeftBehind) -> Iterator[Grid]:
    with connect(left.url) as found:
        yield found


def kind(item: Mapping[str, Any]) -> str:
    """What an item is, by its keys."""
    partition, sort = item["pk"]["S"], item["sk"]["S"]
    if partition in PARTITIONS:
        return PARTITIONS[partition]
    if partition.startswith("A#"):
        return "audit"
    if partition.endswith("#D"):
        return "order of pages"
    return {"S": "session", "C": "counters", "R": "root", "B": "bundle", "F": "failed attempts"}[sort[:1]]


def vocabulary(items: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """The attributes that items of each kind have."""
    found = defaultdict[str, set[str]](set)
    for item in items:
        found[kind(item)] |= item.keys()
    return dict(found)


def test_it_is_read_and_its_work_goes_on_in_words_that_it_knows(
    grid: Grid, made: CloudUnderTest, left: LeftBehind, book: ModuleType
) -> None:
    """What was leased and what was ready runs, what failed runs again; nothing is written that it could not read."""
    assert_all_can_be_read(grid, left, book.quote)
    (left.folder / OPEN).touch()
    (left.folder / MENDED).touch()
    made.start_agent(PYTHONPATH=str(left.folder))
    assert made.run("reconcile").returncode == 0
    running, again = grid.session(left.sessions["running"]), grid.resubmit(left.sessions["failed"])
    assert (ended(running).state, ended(again).state) == ("COMPLETED", "COMPLETED")
    discount = [1.0, 0.97, 0.94]
    assert list(running.results()) == [[n, discount[n % 3], [0.04, "kappa"]] for n in range(RUNNING_TASKS)]
    assert list(again.results()) == list(range(6))

    pages = made.account.dynamodb().get_paginator("scan").paginate(TableName="htcgrid-book")
    today = vocabulary(item for page in pages for item in page["Items"])
    before = vocabulary(dump()["items"])
    assert today.keys() - NEW_KINDS <= before.keys()
    added = {name: today[name] - before[name] - UNSEEN.get(name, set()) for name in today.keys() - NEW_KINDS}
    assert {name: names for name, names in added.items() if not names <= ADDITIONS.get(name, set())} == {}


def test_its_parameter_is_understood() -> None:
    parameter = GridParameter.model_validate_json(dump()["parameter"])
    assert (parameter.table, list(parameter.queues)) == ("htcgrid-book", ["default"])


def test_messages_have_words_that_it_knows() -> None:
    body = json.loads(messages.write(Hint("s-1234", "00000000", 1.0, "high"), 1))
    assert body.keys() == MESSAGE
