"""The programs of docs/prefect.md run as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import Block, blocks
from tests.e2e.support import REPOSITORY

PROGRAMS = [
    block for block in blocks((REPOSITORY / "docs" / "prefect.md").read_text()) if block.note.startswith("file: ")
]


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.note.removeprefix("file: "))
def test_a_program_of_the_page(program: Block, shared_grid_url: str, tmp_path: Path) -> None:
    file = tmp_path / program.note.removeprefix("file: ")
    file.write_text(program.code.replace('"local://"', repr(shared_grid_url)))
    done = subprocess.run(
        [sys.executable, str(file)],
        env={**os.environ, "HTCGRID_URL": shared_grid_url},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout, "a program that prints nothing shows nothing"
