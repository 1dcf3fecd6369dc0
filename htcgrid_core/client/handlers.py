"""Handlers named at submit, ``module.handler``: looked for at once, without running their module."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import sys
from pathlib import Path

from htcgrid_core.client.static_analysis import top_level_names
from htcgrid_core.domain.errors import FunctionNotFound
from htcgrid_core.domain.function import Environment, FunctionSpec


def reference(name: str, environment: Environment | None) -> FunctionSpec:
    """A function named ``module.handler``.

    Raises:
        FunctionNotFound: this process could not import it, and so no worker of its environment could.
    """
    module_name, _, _ = name.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in name.split(".")):
        raise FunctionNotFound(f"{name!r} is not a function's name: write it as module.handler")
    if environment is not None:
        check_importable(name)
    return FunctionSpec(name=name, environment=environment)


def check_importable(name: str) -> None:
    """Look for a handler without running its module: it may be the very script that submits.

    Raises:
        FunctionNotFound: this process could not import it.
    """
    module_name, _, attribute = name.rpartition(".")
    loaded = sys.modules.get(module_name)
    if loaded is not None and module_name != "__main__":
        if not callable(getattr(loaded, attribute, None)):
            raise FunctionNotFound(f"module {module_name} has no function {attribute!r}")
        return
    try:
        found = importlib.util.find_spec(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # looking into a package runs it, and it may raise anything
        raise FunctionNotFound(f"{name}: module {module_name} cannot be found: {error}") from error
    if found is None:
        raise FunctionNotFound(
            f"{name}: there is no module {module_name!r}; is its folder on sys.path (PYTHONPATH, or the script's own)?"
        )
    if isinstance(found.loader, importlib.machinery.SourceFileLoader) and found.origin:
        names = _top_level_names(Path(found.origin), Path(found.origin).stat().st_mtime_ns)
        if names is not None and attribute not in names:
            raise FunctionNotFound(f"{found.origin} has no function {attribute!r}")


@functools.lru_cache(maxsize=64)
def _top_level_names(path: Path, modified_ns: int) -> set[str] | None:
    """Names that a source file defines or imports; None if that cannot be told from its text."""
    return top_level_names(path.read_bytes(), str(path))
