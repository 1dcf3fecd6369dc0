"""Folders on a shared machine: what another user made, or could still change, is refused before anything is written."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from htcgrid_core.adapters.aws.s3.cache import BlobCache
from htcgrid_core.agent.workers.launch import BAD_MACHINE, launcher
from htcgrid_core.cloud.plane import CACHE_VARIABLE, cache_folder
from htcgrid_core.codecs.signing import KEY_BYTES
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.disk.private import make_private
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.local.directory import Directory, open_plane

DIGEST = "0" * 64


def somebody_else() -> int:
    """Another user of this machine, for whom root can act."""
    if os.geteuid() != 0:
        pytest.skip("only root can make what belongs to another user")
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        pytest.skip("there is no user nobody")


def foreign(folder: Path) -> None:
    """Made beforehand by another user, as open as they like."""
    folder.mkdir(mode=0o700)
    os.chown(folder, somebody_else(), -1)


def writable(folder: Path) -> None:
    """The user's own, but anybody may put something there."""
    folder.mkdir()
    folder.chmod(0o777)


def writable_for_the_group(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o770)


def linked(folder: Path) -> None:
    """A link, which whoever made it may lead elsewhere later."""
    target = folder.with_name("target")
    target.mkdir(mode=0o700)
    folder.symlink_to(target)


def leading_nowhere(folder: Path) -> None:
    folder.symlink_to(folder.with_name("target"))


TRAPS = [foreign, writable, writable_for_the_group, linked, leading_nowhere]
Trap = Callable[[Path], None]
traps = pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.__name__)


def everything(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.lstat().st_mode) for path in folder.rglob("*")}


@traps
class TestGrid:
    def test_a_directory(self, tmp_path: Path, trap: Trap) -> None:
        trap(tmp_path / "grid")
        before = everything(tmp_path)
        with pytest.raises(GridUnavailable, match=rf"{tmp_path}/grid.*(folder|local:///PATH)"):
            open_plane(Directory(tmp_path / "grid"))
        assert everything(tmp_path) == before

    @pytest.mark.parametrize("name", ["blobs", "bells", "agents"])
    def test_a_folder_in_it(self, tmp_path: Path, trap: Trap, name: str) -> None:
        (tmp_path / "grid").mkdir()
        trap(tmp_path / "grid" / name)
        with pytest.raises(GridUnavailable, match=rf"{tmp_path}/grid/{name}"):
            open_plane(Directory(tmp_path / "grid"))
        assert not (tmp_path / "grid" / "grid.db").exists()


@traps
class TestCache:
    def test_nothing_is_found_in_it_nor_put_there(self, tmp_path: Path, trap: Trap) -> None:
        trap(tmp_path / "cache")
        before = everything(tmp_path)
        cache = BlobCache(DiskCache(tmp_path / "cache", 1 << 30))
        with pytest.raises(GridUnavailable, match=f"{tmp_path}/cache"):
            cache.add(f"functions/{DIGEST}", lambda path: path.write_bytes(b"x"))
        with pytest.raises(GridUnavailable, match=f"{tmp_path}/cache"):
            cache.find(f"functions/{DIGEST}")
        assert everything(tmp_path) == before

    def test_no_package_is_unpacked_there(self, tmp_path: Path, trap: Trap) -> None:
        trap(tmp_path / "cache")
        before = everything(tmp_path)
        command = [*launcher(tmp_path / "cache", DIGEST, "/no/package", 1 << 30, None, "mine"), "true"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == BAD_MACHINE
        assert ran.stderr.startswith(f"package {DIGEST} cannot be unpacked in {tmp_path}/cache: ")
        assert "Traceback" not in ran.stderr
        assert everything(tmp_path) == before


class TestModes:
    @pytest.fixture(autouse=True)
    def umask(self) -> Iterator[None]:
        before = os.umask(0)
        yield
        os.umask(before)

    def test_folders_above_are_made_private_too(self, tmp_path: Path) -> None:
        make_private(tmp_path / "a" / "b" / "c")
        for made in ("a", "a/b", "a/b/c"):
            assert stat.S_IMODE((tmp_path / made).stat().st_mode) == 0o700

    def test_what_the_grid_made_is_closed_again(self, tmp_path: Path) -> None:
        """A cache that an earlier version, or a copy, left open for others to read."""
        (tmp_path / "cache").mkdir(mode=0o755)
        DiskCache(tmp_path / "cache", 1 << 30).add("x", lambda path: path.write_bytes(b"x"))
        assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700

    def test_a_users_own_directory_keeps_its_mode(self, tmp_path: Path) -> None:
        (tmp_path / "grid").mkdir(mode=0o755)
        open_plane(Directory(tmp_path / "grid"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "grid").iterdir()}
        assert stat.S_IMODE((tmp_path / "grid").stat().st_mode) == 0o755
        assert {mode & 0o077 for mode in modes.values()} == {0}, modes


class TestKey:
    @pytest.mark.parametrize("size", [0, 1, KEY_BYTES - 1, KEY_BYTES + 1])
    def test_its_length(self, tmp_path: Path, size: int) -> None:
        """An empty key would sign what anybody can sign."""
        (tmp_path / "key").write_bytes(b"k" * size)
        (tmp_path / "key").chmod(0o600)
        with pytest.raises(GridUnavailable, match=f"has {size} bytes, not {KEY_BYTES}"):
            open_plane(Directory(tmp_path))
        assert not (tmp_path / "grid.db").exists()

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
    def test_its_mode(self, tmp_path: Path, mode: int) -> None:
        (tmp_path / "key").write_bytes(b"k" * KEY_BYTES)
        (tmp_path / "key").chmod(mode)
        with pytest.raises(GridUnavailable, match=f"open to other users.*chmod 600 {tmp_path}/key"):
            open_plane(Directory(tmp_path))

    def test_its_owner(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_bytes(b"k" * KEY_BYTES)
        (tmp_path / "key").chmod(0o600)
        os.chown(tmp_path / "key", somebody_else(), -1)
        with pytest.raises(GridUnavailable, match="belongs to user"):
            open_plane(Directory(tmp_path))

    def test_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").write_bytes(b"k" * KEY_BYTES)
        (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(GridUnavailable, match="key cannot be read"):
            open_plane(Directory(tmp_path))


class TestPlaceOfTheCache:
    def test_without_a_variable_it_is_one_folder_of_this_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The only level that the grid makes below the temporary directory, whose sticky bit keeps others from it."""
        monkeypatch.delenv(CACHE_VARIABLE, raising=False)
        assert cache_folder("book").parent == Path(tempfile.gettempdir())
        assert str(os.geteuid()) in cache_folder("book").name

    def test_a_volume_that_is_roots(self, tmp_path: Path) -> None:
        """As Docker and Kubernetes mount them: the agent, another user, makes a folder of its own in it."""
        uid = somebody_else()
        with tempfile.TemporaryDirectory() as reachable:
            Path(reachable).chmod(0o755)
            volume = Path(reachable, "volume")
            volume.mkdir()
            volume.chmod(0o2777)  # root's, and an fsGroup's
            script = """
                import os
                import sys
                from htcgrid_core.cloud.plane import cache_folder
                from htcgrid_core.disk.cache import DiskCache
                os.setgroups([])
                os.setuid(int(sys.argv[1]))  # now that all is imported, from where it may not be able to read
                DiskCache(cache_folder("book"), 1000).add("x", lambda path: path.write_bytes(b"x"))
            """
            ran = subprocess.run(
                [sys.executable, "-c", textwrap.dedent(script), str(uid)],
                env={**os.environ, CACHE_VARIABLE: str(volume)},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert ran.returncode == 0, ran.stderr
            made = volume / "book"
            assert (made.stat().st_uid, stat.S_IMODE(made.stat().st_mode) & 0o777) == (uid, 0o700)
