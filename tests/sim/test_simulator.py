"""The promises, over many seeds of simulated grids with faults; and proof that the simulator sees broken ones."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from htcgrid_core.testing.simulator.mutants import MUTANTS
from htcgrid_core.testing.simulator.scenario import simulate

SEEDS = int(os.environ.get("HTCGRID_SIMULATOR_SEEDS", "200"))
GROUP = 25
MUTANT_SEEDS = 600


@pytest.mark.parametrize("first", range(0, SEEDS, GROUP))
def test_no_promise_is_broken(first: int) -> None:
    for seed in range(first, min(first + GROUP, SEEDS)):
        assert simulate(seed), "a run leaves a history"


def test_the_faults_do_happen() -> None:
    histories = ["\n".join(simulate(seed)) for seed in (*range(39), 95)]  # few runs have an abort, one in fifty
    for fault in ("crashed", "refused", "reply lost", "pauses", "drained", "raised LeaseLost", "abort"):
        assert any(fault in history for history in histories), f"no run has: {fault}"


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_grid_is_seen(name: str) -> None:
    for seed in range(MUTANT_SEEDS):
        try:
            MUTANTS[name](seed)
        except Exception:  # whatever the broken grid stumbles over first
            return
    pytest.fail(f"{MUTANT_SEEDS} seeds do not see: {name}")


def test_a_seed_is_one_history_whatever_the_hash_seed() -> None:
    program = "from htcgrid_core.testing.simulator.scenario import simulate; print('\\n'.join(simulate(7)))"
    histories = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(histories) == 1
