"""Ids, keys and files: nothing leads out of the grid's folder, and nobody else reads what is in it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core import InvalidInput, SessionNotFound, connect
from htcgrid_core.adapters.local.blobs import FileBlobs
from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.session import SESSION_ID
from htcgrid_core.local.directory import Directory, open_plane
from htcgrid_core.ports.plane import Plane
from tests.e2e.support import ended, fresh_grid
from tests.planes import still_grid

BAD_KEYS = [
    "", ".", "..", "/", "//", "../x", "x/../y", "x/..", "./x", "x/.", "/etc/passwd", "x//y", "x/", "/x", ".x", "x/.y",
    "x\\y", "x y", "x\0y", "x\n", "é", "x/../../key", "~", "~/x", "x:y", "*", "x/*", "-x", "_x",
]  # fmt: skip


class TestBlobKeys:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "secret").write_text("not a blob")
        (tmp_path / "blobs").mkdir()
        return tmp_path / "blobs"

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_bad_keys_are_refused_by_every_method(self, folder: Path, key: str) -> None:
        blobs = FileBlobs(folder, DiskCache(folder.parent / "unpacked", 1 << 30))
        before = sorted(folder.parent.rglob("*"))
        for call in (
            lambda: blobs.path(key),
            lambda: blobs.get(key),
            lambda: blobs.put(key, b"data"),
            lambda: blobs.exists(key),
        ):
            with pytest.raises(CorruptPayload):
                call()
        if key.removesuffix("/") == key or key == "/":
            with pytest.raises(CorruptPayload):
                blobs.delete_prefix(key)
        assert sorted(folder.parent.rglob("*")) == before

    @given(st.text(max_size=30))
    def test_any_key_is_below_the_folder_or_refused(self, tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
        folder = tmp_path_factory.getbasetemp()
        try:
            path = FileBlobs(folder, DiskCache(folder.parent / "unpacked", 1 << 30)).path(key)
        except CorruptPayload:
            return
        assert path.resolve().is_relative_to(folder.resolve())
        assert path.resolve() != folder.resolve()

    def test_the_whole_store_cannot_be_deleted(self, folder: Path) -> None:
        blobs = FileBlobs(folder, DiskCache(folder.parent / "unpacked", 1 << 30))
        blobs.put("functions/x", b"x")
        for prefix in ("", "/", "./", "../", "functions/../", "/functions/"):
            with pytest.raises(CorruptPayload):
                blobs.delete_prefix(prefix)
        assert blobs.exists("functions/x")


class TestSessionIds:
    @pytest.mark.parametrize(
        "session_id",
        [
            "", "a", "abc", "../x", "s-1/..", "S-1234", "s_1234", "s-1234 ", " s-1234", "s-1234\n", "-1234", ".s-1234",
            "a.b.s-1234", "a.-s-1234", "A.s-1234", "a..s-1234", "a.s", "../a.s-1234", "a/b.s-1234",
            "x" * 65, "s-1234\0", "é1234", "s-1234/outcomes", "%2e%2e", "s-1234;--",
        ],
    )  # fmt: skip
    def test_what_is_no_id(self, plane: Plane, session_id: str) -> None:
        """It might be a session's name, and is nothing that is looked up as an id."""
        with pytest.raises((SessionNotFound, InvalidInput)):
            still_grid(plane).session(session_id)

    @pytest.mark.parametrize(
        "session_id", ["s-12", "0000", "x" * 64, "t-0123456789abcdef01234567", "a---", "mine.s-1234", "0-.0000"]
    )
    def test_what_is_one(self, plane: Plane, session_id: str) -> None:
        with pytest.raises(SessionNotFound):
            still_grid(plane).session(session_id)

    @given(st.text(st.characters(codec=None), min_size=1, max_size=1024))
    def test_any_token_makes_one(self, token: str) -> None:
        """Always the same, and nothing of the token is in it: it may be a path, a secret, or anything."""
        made = session_id_of(token)
        assert SESSION_ID.fullmatch(made)
        assert re.fullmatch(r"t-[0-9a-f]{24}", made)
        assert made == session_id_of(token)

    @given(st.lists(st.text(min_size=1), min_size=2, max_size=20, unique=True))
    def test_tokens_do_not_collide(self, tokens: list[str]) -> None:
        assert len({session_id_of(token) for token in tokens}) == len(tokens)

    def test_without_a_token_it_cannot_be_guessed(self) -> None:
        made = {session_id_of(None) for _ in range(1000)}
        assert len(made) == 1000
        assert all(re.fullmatch(r"s-[0-9a-f]{24}", each) for each in made)

    @pytest.mark.parametrize("token", ["", "x" * 1025])
    def test_tokens_have_a_length(self, token: str) -> None:
        with pytest.raises(InvalidInput, match="1 to 1024"):
            session_id_of(token)


class TestFiles:
    @pytest.fixture(params=[0o022, 0o000], ids=["usual umask", "no umask"])
    def umask(self, request: pytest.FixtureRequest) -> Iterator[None]:
        before = os.umask(request.param)
        yield
        os.umask(before)

    @staticmethod
    def readable_by_others(root: Path) -> list[Path]:
        """What others can get at, given what the folders on the way allow them."""
        found = []
        pending = [root]
        while pending:
            path = pending.pop()
            mode = path.lstat().st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                found.append(path)
            if path.is_dir() and mode & (stat.S_IXGRP | stat.S_IXOTH):
                pending += path.iterdir()
        return found

    def test_a_grid_is_its_owners(self, tmp_path: Path, umask: None) -> None:
        directory = Directory(tmp_path / "grid")
        open_plane(directory)
        assert self.readable_by_others(directory.root) == []
        assert stat.S_IMODE(directory.root.stat().st_mode) == 0o700
        for folder in (directory.blobs, directory.bells, directory.agents):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((directory.root / "key").stat().st_mode) == 0o600

    def test_a_grid_in_a_folder_that_others_may_enter(self, tmp_path: Path, umask: None) -> None:
        """Made by its user beforehand: what the grid puts there is still its owner's only."""
        root = tmp_path / "grid"
        root.mkdir()
        root.chmod(0o755)
        with fresh_grid(root) as url, connect(url) as grid:
            session = grid.submit(len, ["abc"])
            ended(session)
            assert grid.put(b"shared")
            assert self.readable_by_others(root) == [root]

    def test_the_key_is_made_once_and_is_random(self, tmp_path: Path) -> None:
        grids = [Directory(tmp_path / name) for name in ("a", "b", "a")]
        secrets = [open_plane(directory).keys.signer().secret for directory in grids]
        assert secrets[0] == secrets[2] != secrets[1]
        assert {len(secret) for secret in secrets} == {32}
        assert not [path for directory in grids for path in directory.root.glob(".key*")]
