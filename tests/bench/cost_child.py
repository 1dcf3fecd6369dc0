"""One measurement of ``cost``: run by its path with another tree on the search path, so it uses what both have."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from statistics import median
from typing import Any

import psutil

from htcgrid_core import connect
from tests.bench import events, handlers
from tests.bench.supervise import adopt_orphans, end_descendants

WORKERS = 2
ROUNDS = 5
WARM_UP_TASKS = 2_000
SETTLE_S = 0.5
CPUCLOCK_SCHED = 2  # of all threads of a process


def used_s() -> dict[str, float]:
    """CPU seconds of this process, of the agent and of the workers, exact to the nanosecond."""
    found = {"client": time.process_time(), "agent": 0.0, "workers": 0.0}
    for process in psutil.Process().children(recursive=True):
        part = "workers" if any("worker_main" in word for word in process.cmdline()) else "agent"
        found[part] += time.clock_gettime(~process.pid << 3 | CPUCLOCK_SCHED)
    return found


def main(case: str, tasks: int) -> dict[str, float]:
    """Some rounds of no-op tasks."""
    with tempfile.TemporaryDirectory(prefix="cost-", ignore_cleanup_errors=True) as folder:
        grid = connect(f"local://{folder}?slots={WORKERS}")
        executor = grid.executor()
        name = f"{handlers.__name__}.echo"

        def run(inputs: list[events.Event]) -> list[Any]:
            if case == "submit":
                return list(grid.submit(name, inputs).results())
            if case == "map":
                return list(grid.map(handlers.echo, inputs))
            return [future.result() for future in [executor.submit(handlers.echo, event) for event in inputs]]

        run(events.one_kilobyte(WARM_UP_TASKS, seed=2))
        inputs = events.one_kilobyte(tasks)
        rounds = []
        for _ in range(ROUNDS):
            before = used_s()
            events.check(run(inputs), inputs)
            time.sleep(SETTLE_S)
            after = used_s()
            rounds.append({part: after[part] - before[part] for part in before})
        executor.shutdown()
        grid.close()
    found = {part: median(each[part] for each in rounds) for part in rounds[0]}
    return found | {"all": median(sum(each.values()) for each in rounds)}


if __name__ == "__main__":
    adopt_orphans()  # so the agent is a child, though it detaches itself
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
    end_descendants()
