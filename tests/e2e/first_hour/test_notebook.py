"""Progress in a notebook without widgets, of maps too; short representations; the command line of the package."""

from __future__ import annotations

import builtins
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid
from htcgrid_core.client import notebook
from tests.e2e.command_line import CommandLine
from tests.e2e.support import eventually


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A notebook as rich and we see it; what each output of its cell was written with, again and again."""
    written: list[list[str]] = []

    class Handle:
        def __init__(self, output: list[str]) -> None:
            self._output = output

        def update(self, data: dict[str, str], *, raw: bool) -> None:
            assert raw
            self._output.append(data["text/plain"])

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        written.append([data["text/plain"]])
        return Handle(written[-1])

    class ZMQInteractiveShell:
        """Named like that of Jupyter's kernels."""

    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    module: Any = types.ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # cannot be imported
    return written


def test_a_bar_without_widgets_is_text(grid: Grid, outputs: list[list[str]], capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid.submit(abs, range(-3, 0), name="book").wait(progress=True)
    bar, summary = outputs
    assert "book" in bar[-1]
    assert "3/3" in bar[-1]
    assert "\x1b" not in "".join(bar)
    assert summary[0].startswith("book: COMPLETED, 3 of 3 tasks completed in")
    assert capfd.readouterr() == ("", "")


def test_a_map_has_one_too(grid: Grid, outputs: list[list[str]]) -> None:
    assert list(grid.map(abs, range(-3, 0), name="map", progress=True)) == [3, 2, 1]
    bar, summary = outputs
    assert "3/3" in bar[-1]
    assert summary[0].startswith("map: COMPLETED")
    outputs.clear()
    assert list(grid.map(abs, range(-3, 0), name="map")) == [3, 2, 1]
    assert outputs == []


def test_in_a_log_a_map_leaves_one_line(grid: Grid, capfd: pytest.CaptureFixture[str]) -> None:
    assert list(grid.map(abs, range(-3, 0), name="map", progress=True)) == [3, 2, 1]
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("map: COMPLETED, 3 of 3 tasks completed in")
    assert err.count("\n") == 1


def fails(_: object) -> None:
    raise ValueError


def test_progress_is_shown_in_a_line(grid: Grid) -> None:
    session = grid.submit(fails, [1, 2], retry=1)
    assert repr(session.wait()) == "<Progress FAILED: 0 of 2 tasks completed, 2 failed>"
    done = grid.submit(abs, range(1200))
    assert repr(done.wait()) == "<Progress COMPLETED: 1,200 of 1,200 tasks completed>"


def test_a_session_is_shown_and_goes_on_in_its_place(
    grid: Grid, outputs: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(notebook, "FOLLOW_SECONDS", 0.01)
    gate = tmp_path / "gate"
    session = grid.submit(waits_for, [str(gate)])
    session._ipython_display_()
    assert len(outputs) == 1
    assert "0 of 1 tasks completed, 1 pending" in outputs[0][0]
    gate.touch()
    session.wait()
    eventually(lambda: "COMPLETED: 1 of 1 tasks completed" in outputs[0][-1], "it is told of its end")
    assert len(outputs) == 1, "in the same place"


def test_elsewhere_it_is_shown_as_others_are(grid: Grid) -> None:
    with pytest.raises(NotImplementedError):
        grid.submit(abs, [1])._ipython_display_()


def test_a_bar_of_html_escapes_what_others_say(grid: Grid) -> None:
    session = grid.submit(abs, [1, -2], name="<script>alert(1)</script>")
    session.wait()
    for told in (session._repr_html_(), session.progress()._repr_html_()):
        assert "&lt;script&gt;" in told
        assert "<script" not in told
        assert "2 of 2 tasks completed" in told
        assert session.id in told


def waits_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.01)


def test_the_package_that_is_imported_is_the_command_line_too(shell: CommandLine) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "htcgrid_core", "sessions", "--url", shell.url, "--limit", "1"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.startswith("session")
