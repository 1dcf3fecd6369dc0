"""Archives of folders: the same bytes everywhere, of what may be staged, and unpacked as nothing else."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from htcgrid_core.adapters.unpacked_folders import UnpackedFolders
from htcgrid_core.codecs import folders
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload, InvalidInput

LONG = "/".join(("l" * 90, "ä" * 60, "end"))
# What any Python on any machine must make of ``given``: agents compare it with what they have unpacked.
DIGEST = "c7fe6bc78a137843d8a9b02f7cf6bd27d85d6ff5af152c0a7e9f43ee459449dd"


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A folder with whatever there may be."""
    folder = tmp_path / "given"
    for name, data in {"weights.bin": b"w" * 3000, "größe.txt": b"", LONG: b"long", "bin/run": b"#!"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "bin" / "run").chmod(0o700)
    (folder / "empty").mkdir()
    (folder / "link.txt").symlink_to("weights.bin")
    return folder


def test_is_the_same_everywhere(given: Path, tmp_path: Path) -> None:
    """Whenever it was written, and with whichever modes; it is a plain tar archive."""
    assert folders.digest_of(given) == DIGEST
    other = tmp_path / "other"
    shutil.copytree(given, other)
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
    (other / "weights.bin").chmod(0o600)
    assert folders.digest_of(other) == DIGEST
    with folders.archived(given) as archive:
        assert hashlib.sha256(archive.read_bytes()).hexdigest() == DIGEST
        with tarfile.open(archive) as opened:
            names = [member.name for member in opened]
    assert {LONG, "link.txt", "empty"} < set(names)
    assert names == sorted(names)
    assert not archive.exists()


@pytest.mark.parametrize("change", [lambda f: (f / "bin" / "run").chmod(0o600), lambda f: (f / "empty").rmdir()])
def test_what_makes_it_another(given: Path, change: Callable[[Path], None]) -> None:
    """A file that may be executed, and a folder without files."""
    change(given)
    assert folders.digest_of(given) != DIGEST


def test_unpacked(given: Path, tmp_path: Path) -> None:
    """It has the same digest, until somebody changes it."""
    with folders.archived(given) as archive:
        folders.unpack(archive, DIGEST, tmp_path / "made")
    made = tmp_path / "made"
    folders.check(made, DIGEST)
    assert (made / "link.txt").read_bytes() == b"w" * 3000
    (made / "weights.bin").chmod(0o600)
    (made / "weights.bin").write_bytes(b"v" * 3000)
    with pytest.raises(CorruptPayload, match="digest"):
        folders.check(made, DIGEST)


def _outside(folder: Path) -> None:
    (folder / "out").symlink_to("/etc/hostname")


def _folder_link(folder: Path) -> None:
    (folder / "again").symlink_to("bin")


def _socket(folder: Path) -> None:
    before = os.getcwd()
    os.chdir(folder)  # a socket's path may not be long
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("s")
    finally:
        os.chdir(before)


def _no_text(folder: Path) -> None:
    with open(os.fsencode(folder) + b"/\xff", "xb"):
        pass


def _deep(folder: Path) -> None:
    for _ in range(12):
        folder = folder / ("d" * 100)
        folder.mkdir()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_outside, "link that leads out"),
        (_folder_link, "link to a folder"),
        (lambda folder: (folder / "lost").symlink_to("nowhere"), "cannot be read"),
        (_socket, "neither a file nor a folder"),
        (lambda folder: os.mkfifo(folder / "pipe"), "neither a file nor a folder"),
        (_no_text, "not text"),
        (_deep, "path of over"),
    ],
)
def test_what_is_refused(
    given: Path, change: Callable[[Path], None], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    change(given)
    with pytest.raises(InvalidInput, match=why), folders.archived(given):
        pytest.fail("it was archived")
    assert list((tmp_path / "temporary").iterdir()) == []


def test_limits(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files, bytes, and of the least that there may be."""
    (tmp_path / "none" / "below").mkdir(parents=True)
    with pytest.raises(InvalidInput, match="without files"):
        folders.digest_of(tmp_path / "none")
    monkeypatch.setattr(limits, "MAX_STAGED_FILES", 3)
    with pytest.raises(InvalidInput, match="over 3 files"):
        folders.digest_of(given)
    monkeypatch.undo()
    monkeypatch.setattr(limits, "MAX_STAGED_BYTES", 4000)
    with pytest.raises(InvalidInput, match="put its files one by one"):
        folders.digest_of(given)


def test_no_room(given: Path) -> None:
    """It is said how it would be elsewhere."""
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(InvalidInput, match=r"No space left.*TMPDIR"):
        folders._write(full, b"x", given)


def _tar(*members: tuple[str, bytes, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(data), "/etc/passwd" if not data else ""
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


FILE = tarfile.REGTYPE


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (_tar(("../out", FILE, b"x")), "not a path inside"),
        (_tar(("/tmp/htcgrid-out", FILE, b"x")), "not a path inside"),
        (_tar(("a", tarfile.SYMTYPE, b""), ("a/b", FILE, b"x")), "neither a file nor a folder"),
        (_tar(("a", tarfile.LNKTYPE, b"")), "neither a file nor a folder"),
        (_tar(("a", tarfile.CHRTYPE, b"")), "neither a file nor a folder"),
        (_tar(("a", FILE, b"x"), ("a", FILE, b"y")), "twice"),
        (_tar(("a", FILE, b"x"), ("a/b", FILE, b"y")), "twice, or in no folder"),
        (_tar(("a/b", FILE, b"y")), "in no folder"),
        (_tar(("b", FILE, b"x"), ("a", FILE, b"y")), "does not have the digest"),
        (_tar(("a", FILE, b"x" * 2000))[:1024], "damaged"),
        (_tar(("a", FILE, b"x" * 2000))[:300], "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_what_is_not_unpacked(data: bytes, why: str, tmp_path: Path) -> None:
    """Whoever stored it: nothing is kept, and nothing is written elsewhere."""
    archive = tmp_path / "archive"
    archive.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    cache = tmp_path / "cache"
    unpacked = UnpackedFolders(DiskCache(cache, 1 << 30))
    with pytest.raises(CorruptPayload, match=why):
        unpacked.folder(f"shared/{digest}", lambda: archive)
    assert sorted(path.name for path in cache.iterdir()) == [".lock", ".lock-folders"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "cache"]


def test_what_was_changed_is_unpacked_anew(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the next process that looks, or within a minute; and what a larger one needs room for goes, unless used."""
    disk = DiskCache(tmp_path / "cache", 1)
    with folders.archived(given) as archive:
        path = UnpackedFolders(disk).folder(f"shared/{DIGEST}", lambda: archive)
        (path / "weights.bin").chmod(0o600)
        (path / "weights.bin").write_bytes(b"v" * 3000)
        anew = UnpackedFolders(disk).folder(f"shared/{DIGEST}", lambda: archive)
        folders.check(anew, DIGEST)
        (given / "more").write_bytes(b"more")
        other = folders.digest_of(given)
        with folders.archived(given) as second:
            UnpackedFolders(disk).folder(f"shared/{other}", lambda: second)
            assert anew.exists(), "it was asked for just now"
            monkeypatch.setattr(limits, "CACHED_BLOB_IN_USE_SECONDS", -1.0)
            (given / "most").write_bytes(b"most")
            third = folders.digest_of(given)
            with folders.archived(given) as archive_of_third:
                UnpackedFolders(disk).folder(f"shared/{third}", lambda: archive_of_third)
    assert [path.name for path in (tmp_path / "cache").glob("folder-*")] == [f"folder-{third}"]
