"""A million tasks from a file, in a worker of ordinary size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pytest

SCRIPT = """
import json, resource, sys
from htcgrid_airflow.operators import HTCGridSubmitOperator
from tests.airflow.steps import Step

url, tasks, result = sys.argv[1:]
operator = HTCGridSubmitOperator(
    task_id="fan_out", grid=url, function="tests.airflow.handlers.number_of", tasks=tasks, result=result
)
manifest = operator.execute(Step().context())
print(json.dumps([manifest, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_million_tasks_in_a_small_worker(grid_url: str, tmp_path: Path) -> None:
    """Submitting, waiting and writing the results: under 500 MB of memory, and 2 KB of XCom."""
    events, results = tmp_path / "events.parquet", tmp_path / "results.parquet"
    parquet.write_table(pyarrow.table({"number": range(1_000_000)}), events, row_group_size=50_000)
    command = [sys.executable, "-c", SCRIPT, grid_url, str(events), str(results)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    manifest, peak_kib = json.loads(done.stdout.splitlines()[-1])
    print(
        f"a million tasks: the worker's memory was at most {peak_kib >> 10} MiB, its XCom {len(json.dumps(manifest))} B"
    )
    assert manifest["completed"] == 1_000_000
    assert peak_kib << 10 < 500_000_000
    assert len(json.dumps(manifest)) < 2048
    assert parquet.read_metadata(results).num_rows == 1_000_000
