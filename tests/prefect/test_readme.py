"""The flow that the README shows runs as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import blocks

README = Path(__file__).parents[2] / "README.md"


def test_the_flow_of_the_readme(tmp_path: Path, shared_grid_url: str) -> None:
    (shown,) = (block for block in blocks(README.read_text()) if block.note == "file: book_flow.py")
    file = tmp_path / "book_flow.py"
    file.write_text(shown.code.replace("local://", shared_grid_url))
    done = subprocess.run(
        [sys.executable, str(file)], env=dict(os.environ), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "88,369,133\n"
