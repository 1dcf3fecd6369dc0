"""The Python that runs here, for workers that run on the same machine."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig

from htcgrid_core.domain.function import Environment


def this_environment() -> Environment:
    """The Python that runs now, for workers on the same machine."""
    return _environment(tuple(sys.path), os.getcwd())


@functools.lru_cache(maxsize=8)
def _environment(search_path: tuple[str, ...], cwd: str) -> Environment:
    paths = sysconfig.get_paths()
    own = {os.path.realpath(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    entries = []
    for entry in search_path:
        path = os.path.realpath(entry or cwd)
        if path not in own and not path.startswith(tuple(folder + os.sep for folder in own)) and os.path.isdir(path):
            entries.append(path)
    return Environment(python=sys.executable, path=tuple(dict.fromkeys(entries)), cwd=cwd)
