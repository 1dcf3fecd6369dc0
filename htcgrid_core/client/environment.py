"""The Python that runs here, for workers that run on the same machine."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.function import Environment

_STDLIB_ARCHIVE = f"python{sys.version_info[0]}{sys.version_info[1]}.zip"  # which each interpreter looks for itself


def this_environment() -> Environment:
    """The Python that runs now, for workers on the same machine.

    Raises:
        InvalidInput: this process's folder is gone, or has, as an entry of its search path, a name that cannot be
            stored.
    """
    try:
        cwd = os.getcwd()
    except OSError as error:
        raise InvalidInput(
            f"the folder that this process works in is gone ({error}), and workers would work in it: os.chdir to one "
            "that is there"
        ) from error
    entries = _entries(tuple([entry for entry in sys.path if isinstance(entry, str)]), cwd)  # import knows no others
    return _environment(tuple([entry for entry in entries if os.access(entry, os.F_OK) or _is_inside(entry)]), cwd)


@functools.lru_cache(maxsize=8)
def _entries(search_path: tuple[str, ...], cwd: str) -> tuple[str, ...]:
    """Those that are not the interpreter's own, each once, whether or not they are there."""
    paths = sysconfig.get_paths()
    own = {os.path.realpath(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    own.update(entry for entry in search_path if os.path.basename(entry) == _STDLIB_ARCHIVE)
    inside_own = tuple(folder + os.sep for folder in own)
    found = dict.fromkeys(os.path.realpath(os.path.join(cwd, entry)) for entry in search_path)
    return tuple(path for path in found if path not in own and not path.startswith(inside_own))


def _is_inside(entry: str) -> bool:
    """Whether an entry that is no file of its own may be a folder inside of a zip archive."""
    while not os.path.exists(entry):
        entry = os.path.dirname(entry)
    return os.path.isfile(entry)


@functools.lru_cache(maxsize=8)
def _environment(path: tuple[str, ...], cwd: str) -> Environment:
    for what, place in (("works in a folder", cwd), *(("looks for modules in", entry) for entry in path)):
        if not _is_utf8(place):
            raise InvalidInput(
                f"this process {what} {place!r}, whose name is not UTF-8, and so no worker can be told of it: rename it"
            )
    return Environment(python=sys.executable, path=path, cwd=cwd)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
