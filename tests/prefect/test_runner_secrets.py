"""A canary in Prefect's settings and in the environment of the flow never reaches the grid."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.support import GUARD_SECONDS, REPOSITORY, directory_of
from tests.prefect.conftest import HOME

CANARY = "canary-7f3a91c2"
FLOW = """
from prefect import flow, task
from prefect.blocks.system import Secret
from prefect.settings import get_current_settings
from htcgrid_prefect import HTCGridTaskRunner

@task
def looks(number):
    import os
    return sorted(name for name, value in os.environ.items() if "canary" in value)

@flow(log_prints=True)
def main():
    assert "canary" in get_current_settings().api.key.get_secret_value()
    seen = looks.map(range(4)).result()
    assert seen == [[]] * 4, seen
    looks.submit(5).result()

for engine in ("prefect", "grid"):
    main.with_options(task_runner=HTCGridTaskRunner({url!r}, engine=engine))()
"""


def test_no_secret_reaches_the_grid(grid_url: str, tmp_path: Path) -> None:
    script = tmp_path / "secret_flow.py"
    script.write_text(FLOW.format(url=grid_url))
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "PREFECT_API_KEY": f"{CANARY}-key",
        "PREFECT_CLIENT_CUSTOM_HEADERS": f'{{"X-Token": "{CANARY}-header"}}',
        "PREFECT_SERVER_DATABASE_PASSWORD": f"{CANARY}-password",
        "MY_DATABASE_PASSWORD": f"{CANARY}-environment",
    }
    done = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, env=environment, capture_output=True, timeout=GUARD_SECONDS
    )
    output = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, output
    root = directory_of(grid_url).root
    files = [path for path in root.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
    assert CANARY not in output
    assert CANARY.encode() not in (HOME / "server.log").read_bytes()
