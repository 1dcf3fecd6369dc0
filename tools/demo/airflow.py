"""A real run of the DAG ``american_puts``, by Airflow, in this checkout's ``out/``; about a minute.

Usage::

    .venv-airflow/bin/python -m tools.demo.airflow
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tools.demo.show import run

REPOSITORY = Path(__file__).parents[2]
OUT = REPOSITORY / "out"
HOME = OUT / "airflow"
AIRFLOW = Path(sys.executable).with_name("airflow")
DAG = "american_puts"


def main() -> int:
    """Run the DAG, show its session and its report; return the exit code."""
    HOME.mkdir(parents=True, exist_ok=True)
    url = f"local://{OUT / 'grid'}"
    env = environment(url)
    report = OUT / "american-puts"
    subprocess.run(
        [AIRFLOW, "db", "migrate"], env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    title = f"Airflow {version('apache-airflow')} runs the DAG {DAG}: prepare, price on the grid, report"
    conf = json.dumps({"out": str(report)})
    code = run(title, [str(AIRFLOW), "dags", "test", DAG, "--conf", conf], env, HOME / "run.log", url, "american-puts")
    if code:
        return code
    print((report / "report.txt").read_text())
    return 0


def environment(url: str) -> dict[str, str]:
    """An Airflow of its own: nothing of the user's is read or written."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    folder = REPOSITORY / "example_dags"
    return {
        **kept,
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "airflow_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__HTCGRID__POLL_INTERVAL": "0.5",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_CONN_HTCGRID_DEFAULT": json.dumps({"conn_type": "htcgrid", "extra": {"grid": url}}),
        "MPLBACKEND": "Agg",
        "PYTHONPATH": os.pathsep.join((str(folder), str(REPOSITORY))),
    }


if __name__ == "__main__":
    sys.exit(main())
