"""What workers are told of the Python that submits: all that it could import from, or why they cannot be told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from htcgrid_core.agent import interpreter
from htcgrid_core.cli.importing import make_cwd_importable
from htcgrid_core.client.environment import this_environment
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput
from htcgrid_core.local.directory import HOME_VARIABLE, Directory


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A zip archive with modules, as zipapp makes them."""
    path = tmp_path / "app.pyz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("lib/there.py", "")
    return path


def test_zip_archives_and_folders_in_them_are_told(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(archive), str(archive / "lib"), *sys.path])
    assert this_environment().path[:2] == (str(archive), str(archive / "lib"))


def test_a_folder_that_is_made_later_is_told_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = tmp_path / "later"
    monkeypatch.setattr(sys, "path", [str(later), *sys.path])
    assert str(later) not in this_environment().path
    later.mkdir()
    assert this_environment().path[0] == str(later)


def test_entries_that_import_ignores_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = this_environment().path
    monkeypatch.setattr(sys, "path", [tmp_path, os.fsencode(tmp_path), None, *sys.path])
    assert this_environment().path == before


def test_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(InvalidInput, match=r"folder that this process works in is gone"):
        this_environment()
    monkeypatch.setenv(HOME_VARIABLE, "beside")
    with pytest.raises(GridUnavailable, match=HOME_VARIABLE):
        Directory.default()
    before = list(sys.path)
    make_cwd_importable()
    assert [entry for entry in sys.path if entry not in before] == []


def test_names_that_are_not_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/latin-\xe9"))
    odd.mkdir()
    with monkeypatch.context() as there:
        there.setattr(sys, "path", [str(odd), *sys.path])
        with pytest.raises(InvalidInput, match=r"looks for modules in .* not UTF-8"):
            this_environment()
    monkeypatch.chdir(odd)
    with pytest.raises(InvalidInput, match=r"works in a folder .* not UTF-8"):
        this_environment()


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(HOME_VARIABLE, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(GridUnavailable, match=HOME_VARIABLE):
        Directory.default()
    monkeypatch.setenv(HOME_VARIABLE, "~nobody-of-this-name/grid")
    with pytest.raises(GridUnavailable, match=HOME_VARIABLE):
        Directory.default()


def test_a_path_that_is_too_long_for_the_database(tmp_path: Path) -> None:
    with pytest.raises(GridUnavailable, match="too long"):
        Directory(tmp_path / "/".join(["x" * 200] * 4)).prepare()


def test_the_package_is_found_where_only_this_process_knows_it(tmp_path: Path) -> None:
    """A vendored copy: no installed one, nor any in the folder or in PYTHONPATH."""
    (tmp_path / "htcgrid_core").mkdir()
    (tmp_path / "htcgrid_core" / "__init__.py").write_text("")
    (tmp_path / "htcgrid_core" / "told.py").write_text("import sys\ndef main(): print(sys.argv[1:], sys.path[-1])\n")
    found = shutil.which("python3", path=os.path.dirname(os.path.realpath(sys.executable))) or sys.executable
    command = [*interpreter.command("htcgrid_core.told", found, [str(tmp_path)]), "a", "b c"]
    command.insert(1, "-I")  # nor from the user's own site
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == f"['a', 'b c'] {tmp_path}"
