"""What may be given as a function, and how it becomes a FunctionSpec; checked before anything is written."""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, Literal

from htcgrid_core.client.sources import top_level_names
from htcgrid_core.codecs.signing import FUNCTION_PURPOSE, seal
from htcgrid_core.domain.errors import FunctionNotFound, InvalidInput
from htcgrid_core.domain.function import Environment, FunctionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries

Call = Literal["handler", "event", "args"]


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
    except Exception as error:  # looking into a package runs it, and it may raise anything
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


def from_callable(
    plane: Plane, function: Callable[..., Any], environment: Environment | None, call: Call | None = None
) -> FunctionSpec:
    """A Python callable, cloudpickled, signed and stored under its digest.

    What the worker can import is sent by reference, ``__main__`` and local functions by value.

    Args:
        call: how it is called; None to tell from its signature: ``handler(event, context)`` if its second
            parameter is named context, else ``function(event)``.

    Raises:
        InvalidInput: it cannot be pickled.
    """
    import cloudpickle  # 15 ms, and references do not need it

    name = f"{getattr(function, '__module__', None) or type(function).__module__}:{_qualname(function)}"
    try:
        pickled = cloudpickle.dumps(function, protocol=5)
    except Exception as error:  # whatever pickling the function's closure raises
        raise InvalidInput(f"{name} cannot be sent to the grid: {type(error).__name__}: {error}") from error
    sealed = seal(plane.key, "", FUNCTION_PURPOSE, pickled)
    key = f"functions/{hashlib.sha256(sealed).hexdigest()}"
    with_retries(plane, lambda: plane.blobs.put(key, sealed))
    return FunctionSpec(name=name[:512], blob=key, call=call or _call_of(function), environment=environment)


def is_sent_by_name(function: Callable[..., Any]) -> bool:
    """Whether the pickle of a callable is its module's and its own name, and so the same however often it is made."""
    if not isinstance(function, FunctionType) or function.__module__ == "__main__":
        return False
    found: Any = sys.modules.get(function.__module__)
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not function:
        return False
    import cloudpickle

    return not cloudpickle.list_registry_pickle_by_value()


def _qualname(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def _call_of(function: Callable[..., Any]) -> Call:
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # builtins may have no signature
        return "event"
    return "handler" if len(parameters) >= 2 and parameters[1] == "context" else "event"


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
