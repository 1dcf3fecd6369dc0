"""Packages that would write elsewhere, fill the disk, or are not what was deployed."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from htcgrid_core import CorruptPayload, FunctionNotFound, Grid, InvalidInput, RetryPolicy, SignatureInvalid, connect
from htcgrid_core.agent.workers.launch import BAD_PACKAGE, launcher
from htcgrid_core.agent.workers.unpacked_packages import hold
from htcgrid_core.client import packaging
from htcgrid_core.codecs import packages
from htcgrid_core.codecs.signing import PACKAGE_PURPOSE, Key, seal
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidPackage
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.services import functions
from tests.e2e.support import ended, fresh_grid
from tests.planes import KEY, memory_plane, plane_of, still_grid

HANDLER = "def handler(event, context):\n    return event\n"
APP = ("app.py", HANDLER)


def zipped(*files: tuple[str, str], change: Callable[[zipfile.ZipInfo], None] | None = None) -> bytes:
    """A zip archive as anybody may make one; ``change`` is done to each entry but the first."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (name, text) in enumerate(files):
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            if change is not None and number:
                change(info)
            archive.writestr(info, text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def as_link(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


def as_device(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFCHR | 0o666) << 16


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    """A grid whose agents nobody needs."""
    return still_grid(memory_plane(tmp_path))


EVIL = {
    "zip slip": zipped(APP, ("../outside.py", "x")),
    "zip slip below": zipped(APP, ("a/../../outside.py", "x")),
    "absolute": zipped(APP, ("/tmp/outside.py", "x")),
    "backslashes": zipped(APP, ("..\\outside.py", "x")),
    "drive": zipped(APP, ("a//b.py", "x")),
    "dot": zipped(APP, ("a/./b.py", "x")),
    "link": zipped(APP, ("link", "/etc/passwd"), change=as_link),
    "device": zipped(APP, ("null", ""), change=as_device),
    "a file and its folder": zipped(APP, ("app.py/inner.py", "x")),
    "not a zip": b"PK\x03\x04 nothing of the kind",
    "cut": zipped(APP, ("b.py", "x" * 10_000))[:-50],
    "empty": zipped(),
}


@pytest.mark.parametrize("how", EVIL)
def test_an_evil_archive_is_not_deployed(grid: Grid, tmp_path: Path, how: str) -> None:
    place = tmp_path / "evil.zip"
    place.write_bytes(EVIL[how])
    with pytest.raises(InvalidPackage):
        grid.deploy("app", place, handler="app.handler")
    assert grid.functions() == []
    assert plane_of(grid).blobs.keys("packages/") == []


@pytest.mark.parametrize("how", EVIL)
def test_an_evil_archive_is_not_unpacked_either(tmp_path: Path, how: str) -> None:
    """Though it is sealed, as by somebody who has the key or by a faulty client."""
    if how == "empty":
        return
    _assert_not_unpacked(tmp_path, EVIL[how])


def _assert_not_unpacked(tmp_path: Path, data: bytes) -> None:
    """Launch a command in the package: it does not run, and nothing is left anywhere."""
    sealed = seal(Key(KEY), "", PACKAGE_PURPOSE, data)
    digest = hashlib.sha256(sealed).hexdigest()
    (tmp_path / "blobs").mkdir(exist_ok=True)
    package = tmp_path / "blobs" / digest
    package.write_bytes(sealed)
    cache = tmp_path / "cache" / "packages"
    before = everything_in(tmp_path)
    command = launcher(cache, digest, str(package), limits.CACHE_BYTES, None, "mine")
    ran = subprocess.run([*command, "/bin/echo", "it runs"], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == BAD_PACKAGE, ran
    assert "it runs" not in ran.stdout
    assert "Traceback" not in ran.stderr
    left = everything_in(tmp_path) - before
    assert left <= {"cache", "cache/packages", "cache/packages/.lock"}
    assert not Path("/tmp/outside.py").exists()


def everything_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_bomb_is_not_deployed(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_UNPACKED_BYTES", 1 << 20)
    place = tmp_path / "bomb.zip"
    place.write_bytes(zipped(APP, *((f"{n}.txt", "0" * (1 << 18)) for n in range(8))))
    assert place.stat().st_size < 10_000
    with pytest.raises(InvalidPackage, match="over 1 MiB unpacked"):
        grid.deploy("app", place, handler="app.handler")


@pytest.mark.parametrize("said_bytes", [8 << 20, 1])
def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said_bytes: int) -> None:
    """Whatever the archive says of its sizes."""
    data = zipped(APP, ("zeros", "0" * (8 << 20)))
    assert len(data) < 1 << 14
    monkeypatch.setattr(limits, "MAX_UNPACKED_BYTES", 1 << 20)
    sealed = seal(
        Key(KEY), "", PACKAGE_PURPOSE, data.replace(struct.pack("<I", 8 << 20), struct.pack("<I", said_bytes))
    )
    package = tmp_path / "package"
    package.write_bytes(sealed)
    with pytest.raises(InvalidPackage):
        hold(tmp_path / "cache", hashlib.sha256(sealed).hexdigest(), package)
    assert everything_in(tmp_path / "cache") == {".lock"}


def test_too_many_files(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PACKAGE_FILES", 10)
    place = tmp_path / "many.zip"
    for count in (12, 50):  # counted one by one, and before the directory is read
        place.write_bytes(zipped(APP, *((f"{n}.txt", "") for n in range(count))))
        with pytest.raises(InvalidPackage, match="over 10 files"):
            grid.deploy("app", place, handler="app.handler")


def test_twice_the_same_name(grid: Grid, tmp_path: Path) -> None:
    place = tmp_path / "twice.zip"
    with pytest.warns(UserWarning, match="Duplicate name"):
        place.write_bytes(zipped(APP, ("b.py", "first"), ("b.py", "second")))
    with pytest.raises(InvalidPackage, match="twice"):
        grid.deploy("app", place, handler="app.handler")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x" * 256, "a name of 256 bytes, over 255"),
        ("é" * 128, "a name of 256 bytes, over 255"),
        ("lib/" + "x" * 300 + "/app.py", "a name of 300 bytes, over 255"),
        ("/".join(["x" * 200] * 6), "a path of over 1,024 bytes"),
        ("x\ud800", "every machine can write"),
    ],
    ids=["name", "bytes, not letters", "folder", "path", "surrogate"],
)
def test_names_that_cannot_be_unpacked_everywhere(name: str, said: str) -> None:
    """Refused when they are deployed: agents would find out one by one."""
    with pytest.raises(InvalidPackage, match=said):
        packages.pack([packages.Entry(name, False, iter([b"x"]))])


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "/".join(["x" * 203] * 5)])
def test_the_longest_names(name: str) -> None:
    assert packages.pack([packages.Entry(name, False, iter([b"x"]))]).names == (name,)


def test_a_package_that_its_memory_cannot_hold_is_not_deployed(grid: Grid, folder: Path) -> None:
    (folder / "data").write_bytes(os.urandom(33 << 20))
    with pytest.raises(InvalidInput, match=r"33\.0 MiB zipped, cannot be unpacked in its 32 MiB of memory"):
        grid.deploy("large", folder, handler="app.handler", memory_mb=32)
    assert grid.functions() == []


def test_a_link_out_of_the_folder_is_not_followed(grid: Grid, tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.py").write_text(HANDLER)
    for target in ("/etc/passwd", "../secret", tmp_path):
        (tmp_path / "secret").write_text("secret")
        (folder / "link").symlink_to(target)
        with pytest.raises(InvalidPackage, match="leads out of the package"):
            grid.deploy("app", folder, handler="app.handler")
        (folder / "link").unlink()
    (folder / "inner").symlink_to("app.py")
    packed = packaging.package(folder, "app.handler", "python3.11")
    assert {entry.name: b"".join(entry.chunks) for entry in packages.unpack(packed.data)} == {
        "app.py": HANDLER.encode(), "inner": HANDLER.encode(),
    }  # fmt: skip


def test_a_pipe_in_the_folder_is_not_waited_for(grid: Grid, tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.py").write_text(HANDLER)
    os.mkfifo(folder / "pipe")
    with pytest.raises(InvalidPackage, match="neither a file nor a folder"):
        grid.deploy("app", folder, handler="app.handler")


# What was deployed, and is not that any more


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good function."""
    made = tmp_path / "function"
    made.mkdir()
    (made / "app.py").write_text(HANDLER)
    return made


def overwrite(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def test_a_changed_entry_is_refused(grid: Grid, folder: Path, tmp_path: Path) -> None:
    version = grid.deploy("app", folder, handler="app.handler")
    entry = plane_of(grid).blobs.path("registry/app/00000001")
    good = entry.read_bytes()
    for bad in (
        good.replace(b"app.handler", b"os.system__"),
        good[:-1],
        b"",
        good + b" ",
        bytes([good[0] ^ 1]) + good[1:],
    ):
        overwrite(entry, bad)
        with pytest.raises(SignatureInvalid):
            grid.submit("app", [1])
    overwrite(entry, good)
    assert functions.resolve(plane_of(grid), "app") == version


def test_an_entry_is_of_its_own_name_and_number(grid: Grid, folder: Path) -> None:
    """One version cannot be put in another's place, nor one function in another's."""
    grid.deploy("app", folder, handler="app.handler")
    grid.deploy("app", folder, handler="app.handler", memory_mb=64)
    grid.deploy("other", folder, handler="app.handler")
    blobs = plane_of(grid).blobs
    overwrite(blobs.path("registry/app/00000002"), blobs.get("registry/app/00000001"))
    overwrite(blobs.path("registry/other/00000001"), blobs.get("registry/app/00000001"))
    for name in ("app", "app:2", "other"):
        with pytest.raises(SignatureInvalid):
            grid.submit(name, [1])
    assert grid.submit("app:1", [1]).spec.function.name == "app:1"


def test_an_entry_of_another_grid_is_refused(grid: Grid, folder: Path, tmp_path: Path) -> None:
    grid.deploy("app", folder, handler="app.handler")
    other = memory_plane(tmp_path / "other")
    object.__setattr__(other, "keys", Keyring.of(b"o" * 32))
    other.blobs.put("registry/app/00000001", plane_of(grid).blobs.get("registry/app/00000001"))
    with pytest.raises(CorruptPayload):
        functions.resolve(other, "app")


@pytest.mark.parametrize("damage", ["flipped", "cut", "resealed"])
def test_a_changed_package_is_not_run(folder: Path, tmp_path: Path, damage: str) -> None:
    """Found by the agent before any worker sees it: no attempt is worth while."""
    with fresh_grid(tmp_path / "grid") as url, connect(url) as grid:
        version = grid.deploy("app", folder, handler="app.handler")
        path = plane_of(grid).blobs.path(version.blob)
        good = path.read_bytes()
        evil = zipped(("app.py", "def handler(event, context):\n    return 'evil'\n"))
        resealed = seal(Key(b"another key".ljust(32)), "", PACKAGE_PURPOSE, evil)
        bad = {"flipped": good[:100] + bytes([good[100] ^ 1]) + good[101:], "cut": good[:-1], "resealed": resealed}
        overwrite(path, bad[damage])
        session = grid.submit("app", [1, 2], retry=RetryPolicy(max_attempts=3))
        assert ended(session).state == "FAILED"
        assert {task.error.type for task in session.tasks() if task.error} == {"CorruptPayload"}


def test_a_package_that_is_gone_is_told_at_submit(grid: Grid, folder: Path) -> None:
    """And the same files make a version that can be used."""
    version = grid.deploy("app", folder, handler="app.handler")
    plane_of(grid).blobs.path(version.blob).unlink()
    with pytest.raises(InvalidInput, match="deploy or submit it anew"):
        grid.submit("app", [1])
    assert grid.deploy("app", folder, handler="app.handler").version == 2
    grid.submit("app", [1])


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../a", "a b", "a\0b", "-a", "_a", "a" * 65, "naïve", "a:1", "a:b", "a\n", "a.b"]
)
def test_names_that_lead_elsewhere(grid: Grid, folder: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        grid.deploy(name, folder, handler="app.handler")
    if "." not in name and ":" not in name:
        with pytest.raises(FunctionNotFound):
            grid.submit(name, [1])
    assert plane_of(grid).blobs.keys("registry/") == []


@pytest.mark.parametrize(
    "name", ["_HANDLER", "AWS_LAMBDA_RUNTIME_API", "HTCGRID_URL", "LAMBDA_TASK_ROOT", "A B", "A=B", ""]
)
def test_variables_that_are_the_runtimes_own(grid: Grid, folder: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="was not deployed"):
        grid.deploy("app", folder, handler="app.handler", environment={name: "x"})
