"""Every example of the documentation works as it stands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from htcgrid_core.local.directory import Directory
from tests.docs.pages import Block, blocks, with_outputs
from tests.e2e.support import end_agents
from tools.docs.places import REPOSITORY, documents

# Programs of examples that need more than an installed package.
RELEASE = "infra/pipelines/release.sh"  # has tests of its own
NOT_RUN = {"pip", "make", "python", "git", "docker", "helm", "terraform", "airflow", "aws", RELEASE}
README = REPOSITORY / "README.md"
ALONE = [pair for pair in with_outputs(README.read_text()) if pair[0].language == "python" and pair[0].is_run]
PAGES = [page for page in documents() if any(block.is_run for block in blocks(page.read_text()))]


def _environment(home: Path) -> dict[str, str]:
    """A user's, with a grid in ``home``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HTCGRID_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return environment | {"HTCGRID_HOME": str(home), "PATH": path}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_examples(page: Path, tmp_path: Path) -> None:
    environment = _environment(tmp_path / "home") | {"PYTHONPATH": str(REPOSITORY)}
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
        _end_server(folder / "server.pid")
        end_agents(Directory(tmp_path / "home"))
    assert done.returncode == 0, done.stdout + done.stderr


def _end_server(written: Path) -> None:
    """One that a page has started, if it did not come to its end."""
    if written.exists():
        with suppress(ProcessLookupError):
            os.kill(int(written.read_text()), signal.SIGKILL)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a grid whose agents the blocks share."""
    folder = tmp_path_factory.mktemp("home")
    yield folder
    end_agents(Directory(folder))


@pytest.mark.parametrize(("block", "shown"), ALONE, ids=lambda value: getattr(value, "line", ""))
def test_a_block_of_the_readme_runs_when_pasted_alone(
    block: Block, shown: str | None, home: Path, tmp_path: Path
) -> None:
    """Into a fresh Python, in an empty folder."""
    done = subprocess.run(
        [sys.executable, "-"],
        input=block.code,
        cwd=tmp_path,
        env=_environment(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert shown is None or done.stdout.strip() == shown.strip()


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
