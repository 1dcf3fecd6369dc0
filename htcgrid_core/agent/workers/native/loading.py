"""Loading a function inside a worker, and noticing that its source has changed since."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipimport import zipimporter

import htcgrid_core
from htcgrid_core.agent.workers import verified_files
from htcgrid_core.codecs.signing import SIGNATURE_BYTES
from htcgrid_core.codecs.source_lines import NO_LINES, load_function
from htcgrid_core.domain.errors import CorruptPayload


def load(spec: dict[str, Any]) -> Callable[..., Any]:
    """The callable that a FUNCTION message names.

    Raises:
        CorruptPayload: its file has changed since the agent verified it.
        Exception: whatever its import raises; AttributeError or TypeError if there is no such handler.
    """
    if spec["callable_path"]:
        path = spec["callable_path"]
        digest = spec.get("callable_digest") or os.path.basename(path)  # an agent of the release before names the file
        sealed = verified_files.read(path, digest, "function")
        pickled = sealed[SIGNATURE_BYTES:]
        if path := spec.get("sources_path"):  # an agent of the release before names none
            loaded: Callable[..., Any] = load_function(pickled, _lines_in(path, spec["sources_digest"]))
        else:
            loaded = pickle.loads(pickled)  # noqa: S301 - the agent has verified these
        return loaded
    module_name, _, attribute = spec["name"].rpartition(".")
    target: Any = importlib.import_module(module_name)
    target = getattr(target, attribute)
    if not callable(target):
        raise TypeError(f"{spec['name']} is a {type(target).__name__}, not a function")
    return target  # type: ignore[no-any-return]  # callable() does not narrow to a signature


def _lines_in(path: str, digest: str) -> bytes:
    """The function's source lines; none if they are lost: they are for people who read tracebacks."""
    try:
        return verified_files.read(path, digest, "source lines")
    except (OSError, CorruptPayload):
        return NO_LINES


class Sources:
    """The source files that were imported, but for installed packages, as they were then."""

    def __init__(self) -> None:
        paths = sysconfig.get_paths()
        folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
        folders.add(str(Path(str(htcgrid_core.__file__)).parent))  # which does not change under a running agent
        self._installed = tuple(folder + os.sep for folder in folders)
        self._seen: dict[str, tuple[int, int]] = {}
        self._modules = 0

    def note(self) -> None:
        """Remember files imported since the last call."""
        if len(sys.modules) == self._modules:
            return
        self._modules = len(sys.modules)
        for module in list(sys.modules.values()):
            path, loader = getattr(module, "__file__", None), getattr(module, "__loader__", None)
            if isinstance(loader, zipimporter):
                path = loader.archive  # as one whole
            if path and path not in self._seen and not path.startswith(self._installed):
                stamp = _stamp(path)
                if stamp is not None:
                    self._seen[path] = stamp

    def changed(self) -> bool:
        """Whether any of them has changed or vanished."""
        return any(_stamp(path) != stamp for path, stamp in self._seen.items())


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
