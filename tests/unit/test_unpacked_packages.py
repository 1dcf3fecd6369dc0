"""Unpacked packages: shared, read-only, bounded, and never deleted under a worker."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from htcgrid_core.agent.workers.launch import BAD_PACKAGE, launcher
from htcgrid_core.agent.workers.unpacked_packages import STAMP, TASK, hold, task_folder
from htcgrid_core.codecs.packages import Entry, pack
from htcgrid_core.codecs.signing import PACKAGE_PURPOSE, Key, seal
from htcgrid_core.domain.errors import InvalidPackage
from htcgrid_core.testing.contracts.facts import together
from tests.planes import KEY

SIZE = 10_000


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that does not exist yet."""
    return tmp_path / "cache"


def stored(folder: Path, name: str) -> tuple[str, Path]:
    """Digest and file of a sealed package of about SIZE bytes unpacked, different for each name."""
    text = name.encode() * (SIZE // len(name))
    entries = [
        Entry("data.txt", False, iter([text])),
        Entry("bin/run", True, iter([b"#!/bin/sh\npwd\ncat data.txt\n"])),
    ]
    sealed = seal(Key(KEY), "", PACKAGE_PURPOSE, pack(entries).data)
    digest = hashlib.sha256(sealed).hexdigest()
    (folder / digest).write_bytes(sealed)
    return digest, folder / digest


def kept(cache: Path) -> set[str]:
    return {folder.name for folder in cache.iterdir() if not folder.name.startswith(".")}


def test_files_modes_and_place(cache: Path, tmp_path: Path) -> None:
    digest, package = stored(tmp_path, "a")
    os.close(hold(cache, digest, package))
    folder = task_folder(cache, digest)
    assert (folder / "data.txt").read_bytes() == b"a" * SIZE
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
    assert modes == {TASK: 0o555, "data.txt": 0o444, "bin": 0o555, "run": 0o555}
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def test_is_unpacked_once(cache: Path, tmp_path: Path) -> None:
    digest, package = stored(tmp_path, "a")
    os.close(hold(cache, digest, package))
    package.unlink()
    inode = task_folder(cache, digest).stat().st_ino
    os.close(hold(cache, digest, package))
    assert task_folder(cache, digest).stat().st_ino == inode


def test_workers_that_start_at_once(cache: Path, tmp_path: Path) -> None:
    packages = [stored(tmp_path, name) for name in "ab"]
    start = threading.Barrier(8)

    def held(number: int) -> bytes:
        digest, package = packages[number % 2]
        start.wait()
        fd = hold(cache, digest, package)
        try:
            return (task_folder(cache, digest) / "data.txt").read_bytes()
        finally:
            os.close(fd)

    assert together([partial(held, number) for number in range(8)]) == [b"a" * SIZE, b"b" * SIZE] * 4
    assert kept(cache) == {digest for digest, _ in packages}


def test_the_least_recently_used_goes_first(cache: Path, tmp_path: Path) -> None:
    (first, one), (second, two), (third, three) = (stored(tmp_path, name) for name in "abc")
    os.close(hold(cache, first, one))
    os.close(hold(cache, second, two))
    os.close(hold(cache, first, one))
    os.close(hold(cache, third, three, limit_bytes=int(2.5 * SIZE)))
    assert kept(cache) == {first, third}


def test_what_is_in_use_stays(cache: Path, tmp_path: Path) -> None:
    (first, one), (second, two), (third, three) = (stored(tmp_path, name) for name in "abc")
    fd = hold(cache, first, one)
    os.close(hold(cache, second, two))
    os.close(hold(cache, third, three, limit_bytes=int(2.5 * SIZE)))
    assert kept(cache) == {first, third}
    os.close(hold(cache, second, two, limit_bytes=1))
    assert kept(cache) == {first, second}, "no room at all, and yet what is needed now is there"
    os.close(fd)
    os.close(hold(cache, third, three, limit_bytes=1))
    assert kept(cache) == {third}


def test_a_child_of_a_worker_keeps_the_package(cache: Path, tmp_path: Path) -> None:
    """The lock goes to whatever the worker starts, and is gone with the last of them."""
    (first, one), (second, two) = (stored(tmp_path, name) for name in "ab")
    command = [*launcher(cache, first, str(one), 1 << 30, None, "mine"), "/bin/sh", "-c", "echo ready; read line"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdin is not None
        assert worker.stdout.readline() == "ready\n"
        os.close(hold(cache, second, two, limit_bytes=1))
        assert kept(cache) == {first, second}
        worker.stdin.write("\n")
        worker.stdin.close()
    os.close(hold(cache, second, two))
    third, three = stored(tmp_path, "c")
    os.close(hold(cache, third, three, limit_bytes=1))
    assert kept(cache) == {third}


def test_a_command_in_the_package(cache: Path, tmp_path: Path) -> None:
    digest, package = stored(tmp_path, "a")
    place = task_folder(cache, digest)
    command = [*launcher(cache, digest, str(package), 1 << 30, 256, "mine"), f"{place}/bin/run"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == f"{place}\n" + "a" * SIZE


@pytest.mark.parametrize("program", ["/no/such/program", "no-such-program", "data.txt"])
def test_a_command_that_cannot_be_run(cache: Path, tmp_path: Path, program: str) -> None:
    digest, package = stored(tmp_path, "a")
    command = [*launcher(cache, digest, str(package), 1 << 30, None, "mine"), program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == BAD_PACKAGE
    assert ran.stderr.startswith(f"{program} cannot be run: ")


def changed_bytes(folder: Path) -> None:
    (folder / "data.txt").chmod(0o644)
    (folder / "data.txt").write_bytes(b"b" * SIZE)
    (folder / "data.txt").chmod(0o444)


def changed_times(folder: Path) -> None:
    before = (folder / "data.txt").stat()
    changed_bytes(folder)
    os.utime(folder / "data.txt", ns=(before.st_atime_ns, before.st_mtime_ns))


def changed_mode(folder: Path) -> None:
    (folder / "data.txt").chmod(0o555)


def a_file_more(folder: Path) -> None:
    folder.chmod(0o755)
    (folder / "more.py").touch()
    folder.chmod(0o555)


def a_file_less(folder: Path) -> None:
    (folder / "bin").chmod(0o755)
    (folder / "bin" / "run").unlink()
    (folder / "bin").chmod(0o555)


def a_file_replaced(folder: Path) -> None:
    (folder / "bin").chmod(0o755)
    (folder / "bin" / "other").write_bytes((folder / "bin" / "run").read_bytes())
    (folder / "bin" / "other").chmod(0o555)
    (folder / "bin" / "other").rename(folder / "bin" / "run")
    (folder / "bin").chmod(0o555)


def no_record(folder: Path) -> None:
    (folder.parent / STAMP).unlink()


@pytest.mark.parametrize(
    "change",
    [changed_bytes, changed_times, changed_mode, a_file_more, a_file_less, a_file_replaced, no_record],
    ids=lambda change: change.__name__,
)
def test_what_was_changed_since_is_unpacked_anew(cache: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    """A handler that made its package writable does not decide what the next one runs."""
    digest, package = stored(tmp_path, "a")
    os.close(hold(cache, digest, package))
    folder = task_folder(cache, digest)
    change(folder)
    os.close(hold(cache, digest, package))
    assert sorted(path.name for path in folder.rglob("*")) == ["bin", "data.txt", "run"]
    assert (folder / "data.txt").read_bytes() == b"a" * SIZE
    assert stat.S_IMODE((folder / "data.txt").stat().st_mode) == 0o444
    assert kept(cache) == {digest}


def test_who_uses_a_changed_package_keeps_it(cache: Path, tmp_path: Path) -> None:
    digest, package = stored(tmp_path, "a")
    fd = hold(cache, digest, package)
    changed_bytes(task_folder(cache, digest))
    os.close(hold(cache, digest, package))
    second, two = stored(tmp_path, "b")
    os.close(hold(cache, second, two))  # which cleans up what nobody uses
    with open(os.open(f"{TASK}/data.txt", os.O_RDONLY, dir_fd=fd), "rb") as file:
        assert file.read() == b"b" * SIZE
    os.close(fd)
    third, three = stored(tmp_path, "c")
    os.close(hold(cache, third, three))
    assert not list(cache.glob(".new-*"))


def test_tenants_do_not_share_what_python_compiles(cache: Path, tmp_path: Path) -> None:
    digest, package = stored(tmp_path, "a")
    prefixes = []
    for tenant in ("one", "other"):
        command = [*launcher(cache, digest, str(package), 1 << 30, None, tenant), "/usr/bin/env"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        prefixes += [line for line in ran.stdout.splitlines() if line.startswith("PYTHONPYCACHEPREFIX=")]
    assert len(set(prefixes)) == 2


def test_another_digest_is_refused(cache: Path, tmp_path: Path) -> None:
    digest, package = stored(tmp_path, "a")
    package.write_bytes(package.read_bytes()[:-1])
    with pytest.raises(InvalidPackage, match="does not have the digest"):
        hold(cache, digest, package)
    assert kept(cache) == set()


def test_what_a_crash_left_is_cleaned_up(cache: Path, tmp_path: Path) -> None:
    left = cache / ".new-0123456789abcdef" / TASK
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"x")
    os.chmod(left, 0o555)
    digest, package = stored(tmp_path, "a")
    os.close(hold(cache, digest, package))
    assert {path.name for path in cache.iterdir()} == {".lock", digest}


def test_the_lock_is_free_after_a_failure(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        hold(cache, "0" * 64, tmp_path / "missing")
    with open(cache / ".lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
