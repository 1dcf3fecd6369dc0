"""Several who bootstrap a grid at once: the parameter ends with the pools of all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from htcgrid_core.adapters.aws.parameter import Defaults, GridParameter, PoolQueues, parameter_name, read_parameter
from htcgrid_core.adapters.aws.resources.merging import write_merged
from htcgrid_core.adapters.aws.resources.parameters import Parameter
from htcgrid_core.adapters.aws.resources.patience import Patience
from htcgrid_core.cloud.address import Address
from htcgrid_core.cloud.bootstrap import bootstrap
from tests.aws.emulators import Account
from tests.aws.grids import NAME, clients_of, settings_of


def says(*pools: str, agents: int = 1) -> GridParameter:
    """What a parameter with these pools says."""
    queues = {pool: PoolQueues(**{each: f"{pool}-{each}" for each in PoolQueues.model_fields}) for pool in pools}
    return GridParameter(table="t", bucket="b", queues=queues, key="k", defaults=Defaults(agents=agents))


class Writer:
    """Somebody who has read the parameter, or that there is none, and does something else before they write."""

    def __init__(self, account: Account, *between: Callable[[], object]) -> None:
        self._clients = clients_of(account)
        self._between = iter(between)

    def add(self, pool: str, agents: int = 1) -> GridParameter:
        """Write that a grid, which had one agent for each pool, has this pool and so many agents."""
        found_by = Parameter(self._clients, NAME, parameter_name(NAME), Patience(print))
        write = found_by.write

        def late(*args: Any, **options: Any) -> int | None:
            next(self._between, lambda: None)()
            return write(*args, **options)

        found_by.write = late  # type: ignore[method-assign]
        return write_merged(found_by, NAME, says(pool, agents=agents), Defaults())

    def read(self) -> GridParameter:
        return read_parameter(self._clients, NAME)


@pytest.mark.parametrize("is_there", [False, True], ids=["a new grid", "one that is there"])
def test_somebody_writes_between_reading_and_writing(aws_account: Account, is_there: bool) -> None:
    """Twice: they add another pool, and what each pool may be scaled to."""
    other = Writer(aws_account)
    if is_there:
        other.add("default")
    made = Writer(aws_account, lambda: other.add("small"), lambda: other.add("big", 7)).add("mine")
    assert made == other.read()
    assert set(made.queues) == {"mine", "small", "big"} | ({"default"} if is_there else set())
    assert made.defaults.agents == 7


def test_several_write_between_reading_and_writing(aws_account: Account) -> None:
    other = Writer(aws_account)
    other.add("default")
    made = Writer(aws_account, lambda: [other.add(pool) for pool in "abc"]).add("mine")
    assert set(made.queues) == set(other.read().queues) == {"default", "a", "b", "c", "mine"}


def test_what_was_asked_for_is_written_over_what_others_left(aws_account: Account) -> None:
    other = Writer(aws_account)
    other.add("default")
    made = Writer(aws_account, lambda: other.add("theirs", 7)).add("mine", 4)
    assert set(made.queues) == {"default", "theirs", "mine"}
    assert made.defaults.agents == other.read().defaults.agents == 4


def test_a_grid_that_is_removed_between_is_there_again(aws_account: Account) -> None:
    other = Writer(aws_account)
    other.add("default")
    found_by = Parameter(clients_of(aws_account), NAME, parameter_name(NAME), Patience(print))
    assert Writer(aws_account, found_by.remove).add("mine") == other.read()


def test_all_at_once(aws_account: Account) -> None:
    """All have read the same version before the first of them writes."""
    pools = "abcd"
    together = threading.Barrier(len(pools))
    Writer(aws_account).add("default")
    with ThreadPoolExecutor(len(pools)) as threads:
        for each in [threads.submit(Writer(aws_account, lambda: together.wait(60)).add, pool) for pool in pools]:
            each.result()
    assert set(Writer(aws_account).read().queues) == {"default", *pools}


def test_two_bootstraps(aws_account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in aws_account.environment.items():
        monkeypatch.setenv(name, value)
    address = Address(NAME, settings_of(aws_account))
    write, theirs = Parameter.write, iter(["theirs"])

    def late(self: Parameter, *args: Any, **options: Any) -> int | None:
        for pool in theirs:
            bootstrap(address, [pool])
        return write(self, *args, **options)

    monkeypatch.setattr(Parameter, "write", late)
    made = bootstrap(address, ["mine"])
    assert set(made.queues) == {"mine", "theirs"}
    assert read_parameter(clients_of(aws_account), NAME) == made
