"""The command line imports nothing from the current folder but what it is asked to, and never what others put there."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core.disk.private import others_may_write
from tests.e2e.command_line import CommandLine
from tests.e2e.support import fresh_grid

# What the commands import themselves, some of it only when it is needed, and what is not installed here.
SHADOWED = ["rich", "click", "json", "pydantic", "cloudpickle", "orjson", "opentelemetry"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with fresh_grid(tmp_path_factory.mktemp("grid")) as found:
        yield found


@pytest.fixture
def cli(url: str, tmp_path: Path) -> CommandLine:
    """A shell in a folder with handlers, and with modules that have the names of the command line's own."""
    cli = CommandLine.in_folder(tmp_path / "work", url)
    for name in SHADOWED:
        (cli.folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r} + ' ')\n")
    return cli


def ran(tmp_path: Path) -> list[str]:
    """The modules of the current folder that were imported."""
    return (tmp_path / "ran").read_text().split() if (tmp_path / "ran").exists() else []


def test_what_is_installed_is_never_taken_from_the_current_folder(cli: CommandLine, tmp_path: Path) -> None:
    """Also where a handler in that folder is named, in whose submitter it is importable, but last."""
    import_free = [("doctor", "--json"), ("sessions",), ("functions", "list")]
    for command in import_free:
        assert cli.run(*command).code == 0
    assert ran(tmp_path) == []
    submitted = cli.run("submit", "mine.echo", "--range", "3", "--progress")
    assert submitted.code == 0, submitted.err
    assert set(ran(tmp_path)) <= {"opentelemetry"}, "only what is not installed"
    (tmp_path / "ran").unlink(missing_ok=True)
    session = submitted.out.strip()
    for more in (("watch", session), ("results", session), ("tasks", session), ("logs", session, "0")):
        assert cli.run(*more).code == 0
    assert ran(tmp_path) == [], "JSON needs no modules"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o757])
def test_nothing_is_imported_from_a_folder_that_others_may_write_to(cli: CommandLine, mode: int) -> None:
    cli.folder.chmod(mode)
    submitted = cli.run("submit", "mine.echo", "--range", "3")
    assert submitted.code == 2
    assert f"nothing is imported from {cli.folder}, since other users may write to it" in submitted.err
    assert "there is no module 'mine'" in submitted.err
    assert "Traceback" not in submitted.err


def test_pickles_find_their_modules_in_a_folder_of_ones_own(cli: CommandLine, url: str) -> None:
    (cli.folder / "shapes.py").write_text("class Point:\n    def __repr__(self):\n        return 'a point'\n")
    (cli.folder / "script.py").write_text(
        "import sys\nfrom htcgrid_core import connect\nimport shapes\n"
        "print(connect(sys.argv[1]).submit(lambda event: shapes.Point(), [1]).id)\n"
    )
    for name in SHADOWED:
        (cli.folder / f"{name}.py").unlink()
    done = subprocess.run(
        [sys.executable, "script.py", url], cwd=cli.folder, capture_output=True, text=True, timeout=60, check=True
    )
    session = done.stdout.strip()
    assert cli.run("results", session).out == '"a point"\n'
    cli.folder.chmod(0o777)
    refused = cli.run("results", session)
    assert refused.code == 2
    assert "since other users may write to it" in refused.err


class TestFolders:
    @pytest.mark.parametrize(("mode", "open_to_others"), [(0o700, False), (0o755, False), (0o757, True), (0o702, True)])
    def test_modes(self, tmp_path: Path, mode: int, open_to_others: bool) -> None:
        tmp_path.chmod(mode)
        assert others_may_write(tmp_path) is open_to_others
        tmp_path.chmod(0o700)

    def test_a_group_that_is_the_user(self, tmp_path: Path) -> None:
        """As it is where each user has a group of their own: what they make is writable for it."""
        group = os.stat(tmp_path).st_gid
        tmp_path.chmod(0o770)
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
        own = (found.gr_name, group) == (user.pw_name, user.pw_gid) and set(found.gr_mem) <= {user.pw_name}
        assert others_may_write(tmp_path) is not own
        tmp_path.chmod(0o700)

    def test_another_users(self, tmp_path: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can make what belongs to another user")
        (tmp_path / "theirs").mkdir(mode=0o755)
        os.chown(tmp_path / "theirs", 65534, -1)
        assert others_may_write(tmp_path / "theirs")
