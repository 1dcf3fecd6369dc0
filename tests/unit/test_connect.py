"""Grid URLs: what they name, and what is wrong with those that name nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core.agent.cores import available_cores
from htcgrid_core.client.connect import connect
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput, UnknownGrid
from htcgrid_core.local.address import parse_local
from htcgrid_core.local.fleet import Fleet


@pytest.mark.parametrize(
    ("url", "root", "fleet"),
    [
        ("local:///data/grid", "/data/grid", Fleet()),
        ("local:///data/grid?agents=2&slots=3&idle=4.5", "/data/grid", Fleet(2, 3, 4.5)),
        ("local:///data/my%20grid%3F", "/data/my grid?", Fleet()),
        ("local:///data/my grid", "/data/my grid", Fleet()),
        ("local:///data/grid/", "/data/grid", Fleet()),
        ("local:///data/grid?idle=0", "/data/grid", Fleet(1, 0, 0.0)),
    ],
)
def test_what_a_url_names(url: str, root: str, fleet: Fleet) -> None:
    directory, found = parse_local(url)
    assert (directory.root, found) == (Path(root), fleet)


@pytest.mark.parametrize("url", ["local://", "local:///", "local://?slots=3"])
def test_the_default_directory(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HTCGRID_HOME", str(tmp_path / "home"))
    assert parse_local(url)[0].root == tmp_path / "home"
    monkeypatch.delenv("HTCGRID_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_local(url)[0].root == tmp_path / ".htcgrid"


def test_a_relative_home_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its agents have another working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HTCGRID_HOME", "grid")
    assert parse_local("local://")[0].root == tmp_path / "grid"
    monkeypatch.delenv("HTCGRID_HOME")
    monkeypatch.setenv("HOME", "me")
    assert parse_local("local://")[0].root == tmp_path / "me" / ".htcgrid"


def test_a_directory_whose_name_is_not_utf8_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And no other is made in its place."""
    with pytest.raises(GridUnavailable, match="is not UTF-8"):
        connect(f"local://{tmp_path}/caf%E9")
    monkeypatch.setenv("HTCGRID_HOME", os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    with pytest.raises(GridUnavailable, match="is not UTF-8"):
        connect("local://")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "grid",
        "/data/grid",
        "file:///data/grid",
        "LOCALE://",
        "aws",
        "local://data/grid",
        "local://[",
        "local://host:99999999",
        "local:grid",
        "local:///data#here",
        "local:///data?agents=0",
        "local:///data?agents=65",
        "local:///data?agents=two",
        "local:///data?slots=-1",
        "local:///data?slots=",
        "local:///data?idle=nan",
        "local:///data?idle=inf",
        "local:///data?speed=3",
        "local:///data%00x",
    ],
)
def test_what_names_no_grid(url: str) -> None:
    with pytest.raises(UnknownGrid) as caught:
        parse_local(url)
    assert repr(url) in str(caught.value)
    assert isinstance(caught.value, InvalidInput)


@given(st.text(max_size=30).map(lambda rest: f"local:{rest}"))
def test_any_text_names_an_absolute_directory_or_nothing(url: str) -> None:
    try:
        directory, fleet = parse_local(url)
    except UnknownGrid:
        return
    assert directory.root.is_absolute()
    assert fleet.agents >= 1


def test_the_environment_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HTCGRID_URL", f"local://{tmp_path}/named")
    with connect() as grid:
        assert grid.url == f"local://{tmp_path}/named"
    with connect(f"local://{tmp_path}/given") as grid:
        assert grid.url == f"local://{tmp_path}/given"
    assert sorted(os.listdir(tmp_path)) == ["given", "named"]


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GridUnavailable, match="file"):
        connect(f"local://{tmp_path}/file/grid")


def test_slots_are_the_cores_shared_among_the_agents() -> None:
    cores = available_cores()
    assert Fleet().slots_each == cores
    assert Fleet(agents=10 * cores).slots_each == 1
    assert Fleet(slots=7).slots_each == 7
    assert (Fleet(slots=7).cores_each, Fleet(agents=10 * cores).cores_each) == (cores, 1)
    assert Fleet().idle_seconds == limits.AGENT_IDLE_SECONDS


def test_whoever_only_looks_makes_no_grid(tmp_path: Path) -> None:
    with pytest.raises(UnknownGrid, match=r"there is no grid in .*nowhere on this machine"):
        connect(f"local://{tmp_path}/nowhere", create=False)
    assert not list(tmp_path.iterdir())
    connect(f"local://{tmp_path}/nowhere").close()
    connect(f"local://{tmp_path}/nowhere", create=False).close()
