"""Handlers named at submit, ``module.handler``: looked for at once, without running their module."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import FunctionType

from htcgrid_core.client.signatures import check_takes_both
from htcgrid_core.client.static_analysis import Definitions
from htcgrid_core.domain.errors import FunctionNotFound
from htcgrid_core.domain.function import Environment, FunctionSpec


def reference(name: str, environment: Environment | None) -> FunctionSpec:
    """A function named ``module.handler``.

    Raises:
        FunctionNotFound: this process could not import it, and so no worker of its environment could.
        InvalidInput: it does not take an event and a context.
    """
    if name.endswith(".py") or ".py:" in name:
        module = Path(name.partition(":")[0]).stem
        raise FunctionNotFound(f"{name!r} is a file: name a function in it, as in {module}.handler")
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
        InvalidInput: it does not take an event and a context.
    """
    module_name, _, attribute = name.rpartition(".")
    loaded = sys.modules.get(module_name)
    if loaded is not None and module_name != "__main__":
        found = getattr(loaded, attribute, None)
        if not callable(found):
            raise FunctionNotFound(f"module {module_name} has no function {attribute!r}")
        if isinstance(found, FunctionType):  # as of a source file below
            check_takes_both(found)
        return
    try:
        spec = importlib.util.find_spec(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # looking into a package runs it, and it may raise anything
        raise FunctionNotFound(f"{name}: {_why_not(module_name, error)}") from error
    if spec is None:
        raise FunctionNotFound(
            f"{name}: there is no module {module_name!r}; is its folder on sys.path (PYTHONPATH, or the script's own)?"
        )
    if isinstance(spec.loader, importlib.machinery.SourceFileLoader) and spec.origin:
        _definitions(Path(spec.origin), Path(spec.origin).stat().st_mtime_ns).check_handler(attribute)


def _why_not(module_name: str, error: BaseException) -> str:
    """Why a module cannot be found."""
    parent, _, last = module_name.rpartition(".")
    module = sys.modules.get(parent)
    if isinstance(error, ModuleNotFoundError) and module is not None and not hasattr(module, "__path__"):
        return (
            f"{parent} is a module, and {last} none within it: a handler is a function of a module, no method; pass "
            "the method itself, or put a function around it"
        )
    return f"module {module_name} cannot be found: {error}"


@functools.lru_cache(maxsize=64)
def _definitions(path: Path, modified_ns: int) -> Definitions:
    return Definitions(path.read_bytes(), str(path))
