"""What a look at the states of all tasks costs on DynamoDB: it grows with bundles' names, not with outputs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from htcgrid_core.adapters.aws.dynamodb.capacity import read_units
from htcgrid_core.domain.bundle import root_id
from htcgrid_core.domain.payload import Payload
from htcgrid_core.services.task_states import Code, TaskStates
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.given import NOW, SESSION
from tests.aws.emulators import Account
from tests.aws.meter import Meter
from tests.aws.stores import TABLE, make_table, store_of
from tests.planes import memory_plane

ROOTS, TASKS = 64, 2
OUTPUT_BYTES = 6000  # which stay in the table; a read unit has 4096
MILLION_BUNDLES = 1_000_000 // 256
NAME_BYTES = 28  # of a bundle in the page order, whose end and whole are read
MOST_UNITS = 1000


def test_a_million_tasks_take_few_read_units(aws_account: Account, tmp_path: Path) -> None:
    make_table(aws_account)
    meter = Meter(aws_account, TABLE)
    store = store_of(aws_account, client=meter.watch(aws_account.dynamodb()))
    plane = replace(memory_plane(tmp_path), store=store)
    given.running(store, [TASKS] * ROOTS)

    def commit(roots: range) -> None:
        for root in roots:
            held = given.claimed(store, root_id(root), f"token-{root}")
            said = given.commit(held, [*held.bundle.indexes])
            data = os.urandom(OUTPUT_BYTES)
            store.commit(replace(said, outcomes=Payload(data, None, len(data))))

    def look(states: TaskStates) -> float:
        record = store.session(SESSION, NOW)
        meter.reset()
        seen = states.look(plane, record)
        assert seen.count(Code.COMPLETED) == record.counters.completed
        return meter.read_units

    states = TaskStates()
    commit(range(ROOTS // 2))
    look(states)
    commit(range(ROOTS // 2, ROOTS - 1))
    again, whole = look(states), look(TaskStates())
    million = whole + 2 * read_units(NAME_BYTES * MILLION_BUNDLES)
    print(f"{whole:.1f} read units for {ROOTS} bundles, at most {million:.0f} for a million tasks; then {again:.1f}")
    assert whole < ROOTS * OUTPUT_BYTES / 4096 / 2, "no output was read"
    assert million <= MOST_UNITS
    assert again <= whole
