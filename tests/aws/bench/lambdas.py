"""What a cold start of each Lambda function imports, from the archive as it is deployed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import htcgrid_core.lambdas
from tests.aws.bench.rows import Row
from tests.aws.deployed_lambdas import archive_in

AGENT = "htcgrid_core.cloud.function_agent"
BESIDE = "boto3"  # which every function imports at its first call, unless it has then
SCRIPT = """
import sys, time
sys.path.insert(0, sys.argv[1])
began = time.process_time()
__import__(sys.argv[2])
print(1000 * (time.process_time() - began))
"""


def functions() -> list[str]:
    """Modules of handlers, by the permissions beside them."""
    pages = Path(htcgrid_core.lambdas.__file__).parent.glob("*.json")
    return sorted(json.loads(page.read_text())["function"].rpartition(".")[0] for page in pages)


def import_rows(folder: Path, tries: int) -> list[Row]:
    """CPU milliseconds of each import, best of several fresh interpreters."""
    archive, whole = archive_in(folder), folder / "compiled"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(whole)
    bare = folder / "bare"
    shutil.copytree(whole, bare, ignore=shutil.ignore_patterns("__pycache__"))
    beside = f"boto3 {_best(whole, BESIDE, tries):.0f}"
    found = [
        Row(f"import of {module.removeprefix('htcgrid_core.')}, CPU ms", _best(whole, module, tries), beside)
        for module in [*functions(), AGENT]
    ]
    slow = "htcgrid_core.lambdas.submit_tasks"
    found.append(Row("the same of lambdas.submit_tasks, not compiled", _best(bare, slow, tries)))
    return [
        *found,
        Row("the archive, MB", archive.stat().st_size / 1e6, "without services that the functions do not use"),
    ]


def _best(folder: Path, module: str, tries: int) -> float:
    """Of a read-only folder, as a function's is, and of nothing else: nothing that is compiled stays."""
    command = [sys.executable, "-I", "-S", "-B", "-c", SCRIPT, str(folder), module]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return min(float(subprocess.check_output(command, env=environment, text=True)) for _ in range(tries))
