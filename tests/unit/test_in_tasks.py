"""Clients inside of tasks: what they are told, and what they tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from htcgrid_core import AccessDenied, connect
from htcgrid_core.agent.workers.native.waiting import POLLS, Waiting
from htcgrid_core.domain import this_worker as module
from htcgrid_core.domain.this_worker import become


@pytest.fixture
def told() -> Iterator[list[list[str]]]:
    """What the agent of this process, a worker for the time being, is told."""
    found: list[list[str]] = []
    worker = Waiting(found.append, lambda: False)
    become(worker)
    yield found
    module._this = None


def worker_here() -> Any:
    return module.this_worker()


def test_a_task_without_credentials_is_told_so(told: object, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = pytest.importorskip("htcgrid_core.cloud.deployment")

    def refused(*_: object) -> None:
        raise AccessDenied("there are no AWS credentials to use")

    monkeypatch.setattr(cloud, "CloudGrid", refused)
    with pytest.raises(AccessDenied, match=r"no AWS credentials.* This is a task, .*HTCGRID_WORKER_ENV"):
        connect("aws://desk?region=eu-west-1")


def test_only_news_is_told(told: list[list[str]]) -> None:
    first, second = object(), object()
    worker_here().waits(first, ["s-1111"])
    worker_here().waits(first, ["s-1111"])
    worker_here().waits(second, ["s-1111", "s-2222"])
    worker_here().waits(first, ())
    worker_here().waits(second, ())
    assert told == [["s-1111"], ["s-1111", "s-2222"], []]


def test_who_looks_again_and_again_waits(told: list[list[str]]) -> None:
    for _ in range(POLLS + 2):
        worker_here().looked("s-1111", ended=False)
    worker_here().looked("s-1111", ended=True)
    assert told == [["s-1111"], []]


def test_the_next_task_tells_its_own_waits(told: list[list[str]]) -> None:
    worker_here().waits("a thread", ["s-1111"])
    worker_here().task_ended()
    worker_here().waits("a thread", ["s-1111"])
    assert told == [["s-1111"], ["s-1111"]]
