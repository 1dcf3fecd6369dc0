"""The SHA-256 of a file, by which it is stored once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from htcgrid_core.domain.errors import InvalidInput


def digest_of(path: Path) -> str:
    """In hexadecimal.

    Raises:
        InvalidInput: it is no file, or cannot be read.
    """
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder: an archive of it is stored in its place")
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error
