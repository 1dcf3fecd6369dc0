"""Whether a folder is as it was made."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def stamp(folder: Path) -> str:
    """A digest of what the file system says of a folder and all that is in it: nobody can choose times of change."""
    found = hashlib.sha256()
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in ("", *folders, *sorted(names)):
            path = os.path.join(place, name)
            status = os.lstat(path)
            told = (path[len(str(folder)) :], status.st_uid, status.st_mode, status.st_size, status.st_ctime_ns)
            found.update(repr(told).encode("utf-8", "surrogateescape"))
    return found.hexdigest()
