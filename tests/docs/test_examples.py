"""Every example of the documentation works as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from htcgrid_core.local.directory import Directory
from tests.docs.pages import blocks
from tests.e2e.support import end_agents
from tools.docs.places import REPOSITORY, documents

NOT_RUN = {"pip", "make", "python", "git"}  # programs of examples that need more than an installed package
PAGES = [page for page in documents() if any(block.is_run for block in blocks(page.read_text()))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_examples(page: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HTCGRID_")}
    environment |= {
        "HTCGRID_HOME": str(tmp_path / "home"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }
    folder = tmp_path / "work"
    folder.mkdir()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.docs.run_page", str(page)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        end_agents(Directory(tmp_path / "home"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", documents(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_what_is_not_run_says_why(page: Path) -> None:
    for block in blocks(page.read_text()):
        if not block.note.startswith("not run: "):
            assert block.language != "console", f"line {block.line}: write it as bash, which is run"
            continue
        assert len(block.note) > len("not run: ") + 10, f"line {block.line}: a reason is missing"
        if block.language == "bash":
            programs = {line.split()[0] for line in block.code.splitlines() if line and not line.startswith("#")}
            assert programs & NOT_RUN or "aws://" in block.code, f"line {block.line}: {programs} can be run"
