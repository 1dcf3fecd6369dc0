"""Large results in sealed memory: a worker writes one, its agent maps it, and nobody can change it any more.

A worker may keep the descriptor, and maps of it: the kernel refuses to write, and to seal what could still be written
through a map.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Sequence

from htcgrid_core.codecs.buffers import Buffer
from htcgrid_core.disk.open_files import may_be_mapped
from htcgrid_core.domain.errors import CorruptPayload

LARGE_BYTES = 1 << 18  # from here on the two system calls more cost less than copies through a socket
IS_AVAILABLE = hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS")  # on Linux


def write(parts: Sequence[Buffer]) -> int:
    """A descriptor of sealed memory with these bytes.

    Raises:
        OSError: there is no room for them.
    """
    fd = os.memfd_create("htcgrid-result", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for part in parts:
            left = memoryview(part)
            while left:
                left = left[os.write(fd, left) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _seals())
    except BaseException:
        os.close(fd)
        raise
    return fd


def read(fd: int, most_bytes: int) -> memoryview:
    """What is in sealed memory, without a copy if it can be mapped. The descriptor may be closed then.

    Raises:
        CorruptPayload: it is not sealed, or no memory at all, or empty, or larger than that, or not to be read.
    """
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError as error:
        raise CorruptPayload(f"a result in what cannot be sealed: {error}") from error
    if seals & _seals() != _seals():
        raise CorruptPayload("a result in memory that is not sealed")
    size = os.fstat(fd).st_size
    if not 0 < size <= most_bytes:
        raise CorruptPayload(f"a result of {size:,} bytes in sealed memory")
    with contextlib.suppress(OSError):  # no room for a map, or memory of a kind that cannot be mapped here
        if may_be_mapped(fd):
            # Private: Linux before 6.7 maps no sealed memory as shared, though it be for reading alone.
            return memoryview(mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ))
    return _copied(fd, size)


def _copied(fd: int, size: int) -> memoryview:
    """What is in sealed memory, read."""
    copy, at = memoryview(bytearray(size)), 0
    try:
        while at < size and (count := os.preadv(fd, [copy[at:]], at)):
            at += count
    except OSError as error:
        raise CorruptPayload(f"a result in sealed memory that cannot be read: {error}") from error
    if at < size:
        raise CorruptPayload(f"a result of {size:,} bytes in sealed memory, of which {at:,} can be read")
    return copy.toreadonly()


def _seals() -> int:
    return fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
