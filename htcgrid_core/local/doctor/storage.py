"""The grid's directory: there, ours, private, on a disk with room, and of a kind that carries locks and pipes."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import sys
from pathlib import Path

from htcgrid_core.adapters.local.doorbell import FifoDoorbell
from htcgrid_core.disk.private import OTHERS
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.local.directory import HOME_VARIABLE, Directory
from htcgrid_core.local.doctor.finding import Findings, ok, problem, warning

PROBE_BYTES = 1 << 20
LEAST_FREE_BYTES = 64 << 20
FEW_FREE_BYTES = 1 << 30
PIPE_SECONDS = 1.0
NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "lustre", "fuse.sshfs", "fuse.s3fs")
ELSEWHERE = f"name another directory as local:///PATH or in {HOME_VARIABLE}"


def directory(grid: Directory) -> Findings:
    """There, ours and private."""
    root = grid.root
    was_there = root.exists()
    try:
        grid.prepare()
    except GridUnavailable as error:
        yield problem("directory", str(error.__cause__ or error), f"make it writable (chmod u+rwx), or {ELSEWHERE}")
        return
    mode = stat.S_IMODE(root.stat().st_mode)
    if mode & OTHERS:
        text = f"{root} is open to other users (mode {mode:o}): they may see that it is there, not what is in its files"
        yield warning("directory", text, f"chmod 700 {root}")
    else:
        yield ok("directory", f"{root}" if was_there else f"{root}, made just now")


def disk(grid: Directory) -> Findings:
    """A disk that takes writes, has room and is of this machine."""
    probe = grid.root / f".doctor-{secrets.token_hex(4)}"
    try:
        with open(probe, "xb") as file:
            file.write(b"\0" * PROBE_BYTES)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        advice = f"make room, raise the quota or mount it writable, or {ELSEWHERE}"
        yield problem("disk", f"nothing can be written into {grid.root}: {error}", advice)
        return
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    free = shutil.disk_usage(grid.root).free
    text = f"{free / 1e9:,.1f} GB free"
    if free < LEAST_FREE_BYTES:
        yield problem("disk", text, f"make room, or {ELSEWHERE}")
    elif free < FEW_FREE_BYTES:
        yield warning("disk", text, "make room: a session's events and results are kept for days")
    else:
        yield ok("disk", text)
    kind = _file_system(grid.root)
    if kind in NETWORK_FILE_SYSTEMS:
        text = f"{grid.root} is on a network file system ({kind}), where SQLite's locks cannot be relied on"
        yield problem("disk", text, ELSEWHERE)


def _file_system(path: Path) -> str:
    """The kind of file system that holds ``path``; empty if that cannot be told."""
    if sys.platform != "linux":
        return ""
    best, kind = "", ""
    resolved = str(path.resolve())
    for line in Path("/proc/self/mounts").read_text(errors="replace").splitlines():
        fields = line.split()
        point = fields[1].replace("\\040", " ")
        inside = resolved == point or resolved.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind


def key(grid: Directory) -> Findings:
    """The secrets that sign pickles: whole, and nobody else's to read."""
    try:
        stored = grid.keys().read()
    except GridUnavailable as error:
        yield problem("key", str(error), "make it readable for its owner only (chmod 600), or restore it")
    else:
        yield ok("key", f"{len(stored.keys)} in {grid.root}, readable by you only; {stored.signer.key.id} signs")


def pipes(grid: Directory) -> Findings:
    """Named pipes, by which processes wake each other."""
    doorbell = FifoDoorbell(grid.bells)
    topic = f"doctor-{secrets.token_hex(4)}"
    try:
        bell = doorbell.listen(topic)
        try:
            doorbell.ring(topic)
            rung = bell.wait(PIPE_SECONDS)
        finally:
            bell.close()
            with contextlib.suppress(OSError):
                (grid.bells / topic).rmdir()
    except GridUnavailable as error:
        yield problem("named pipes", f"cannot be made in {grid.bells}: {error.__cause__}", ELSEWHERE)
        return
    if rung:
        yield ok("named pipes", "a ring arrives")
    else:
        text = f"a ring did not arrive within {PIPE_SECONDS:g} s: everything works, but slowly, by polling"
        yield warning("named pipes", text, ELSEWHERE)
