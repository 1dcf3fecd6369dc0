"""A file that takes its name once it is complete."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from htcgrid_core.domain.errors import InvalidInput


class Lines:
    """What is written to it; what whoever writes reads meanwhile has errors of its own."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file

    def write(self, data: bytes) -> None:
        """Add bytes.

        Raises:
            InvalidInput: they cannot be written.
        """
        try:
            self._file.write(data)
        except OSError as error:
            raise _not_written(self._path, error) from error

    def writelines(self, lines: Iterable[bytes]) -> None:
        """Add some."""
        for line in lines:
            self.write(line)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Lines]:
    """A file that is there, in the place of an older one, once the block has ended well; else nothing is.

    Raises:
        InvalidInput: it cannot be written.
    """
    beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    try:
        file = open(beside, "wb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise _not_written(path, error) from error
    try:
        with file:
            yield Lines(path, file)
            try:
                file.flush()
                os.fsync(file.fileno())
                os.replace(beside, path)
            except OSError as error:
                raise _not_written(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _not_written(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput(f"{path} cannot be written: {error}")
