"""From a folder or zip to a package, and whether it holds what its runtime will look for."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from htcgrid_core.client.static_analysis import Definitions, is_durable, is_durable_in_node
from htcgrid_core.codecs.packages import READ_BYTES, Entry, Packed, pack, unpack
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import FunctionNotFound, InvalidInput, InvalidPackage

LEFT_OUT = ("__pycache__", ".git", ".hg", ".svn", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".DS_Store")
BOOTSTRAP = "bootstrap"
# Files of any name, which AWS's client imports too: lambda-function.handler, 01_ingest.handler, my-app/main.handler.
_PYTHON_HANDLER = re.compile(r"[^\s./\\]+([./][^\s./\\]+)*\.[A-Za-z_]\w*")
_DURABLE = (
    "{handler} in {file} is a durable function: its steps are kept and replayed by AWS Lambda's own service, which no "
    "grid has. Deploy what one step does as a function, and let the workflow engine go from step to step"
)


def package(path: str | os.PathLike[str], handler: str, runtime: str) -> Packed:
    """The package of a folder or zip archive, the same for the same files.

    Raises:
        InvalidPackage: it cannot be read, is too large, or leads out of itself.
        FunctionNotFound: it does not hold the handler.
        InvalidInput: the handler is one of AWS's durable functions.
    """
    place = Path(path)
    try:
        packed = pack(_entries(place))
    except OSError as error:
        raise InvalidPackage(f"{place} cannot be packaged: {error}") from error
    if runtime.startswith("python"):
        _check_python(place, packed, handler)
    elif runtime.startswith("provided"):
        if BOOTSTRAP not in packed.names:
            raise FunctionNotFound(f"{place}: runtime {runtime} starts a file named {BOOTSTRAP}, which is not there")
        _check_node(packed, handler)
    return packed


def _entries(place: Path) -> Iterator[Entry]:
    if place.is_dir():
        return _of_folder(place)
    if not place.is_file():
        raise InvalidPackage(f"{place} is neither a folder nor a zip archive")
    if place.stat().st_size > limits.MAX_PACKAGE_BYTES:
        raise InvalidPackage(f"{place} is over {limits.MAX_PACKAGE_BYTES >> 20} MiB")
    return (entry for entry in unpack(place.read_bytes()) if not _left_out(entry.name))


def _left_out(name: str) -> bool:
    return any(part in LEFT_OUT for part in name.split("/")) or name.endswith((".pyc", ".pyo"))


def _of_folder(root: Path) -> Iterator[Entry]:
    """Its files; a link to a file inside of it is that file."""
    inside = os.path.realpath(root) + os.sep
    for folder, folders, names in os.walk(root, onerror=_raise):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        for name in [*names, *(name for name in folders if os.path.islink(os.path.join(folder, name)))]:
            path = os.path.join(folder, name)
            shown = os.path.relpath(path, root)
            if _left_out(shown):
                continue
            if os.path.islink(path) and not os.path.realpath(path).startswith(inside):
                raise InvalidPackage(f"{path} is a link that leads out of the package")
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise InvalidPackage(f"{path} is neither a file nor a folder, and cannot be packaged")
            yield Entry(shown, bool(status.st_mode & 0o111), _chunks(path))


def _raise(error: OSError) -> None:
    raise error


def _chunks(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(READ_BYTES):
            yield chunk


def _check_python(place: Path, packed: Packed, handler: str) -> None:
    """Look for the handler without running its module."""
    if not _PYTHON_HANDLER.fullmatch(handler):
        raise FunctionNotFound(f"{handler!r} is not a handler: write it as module.function")
    module, _, name = handler.rpartition(".")
    stem = module.replace(".", "/")
    sources = [source for source in (f"{stem}.py", f"{stem}/__init__.py") if source in packed.names]
    if not sources:
        compiled = any(known.startswith(f"{stem}.") and known.endswith(".so") for known in packed.names)
        if not compiled:
            raise FunctionNotFound(f"{place} has no module {module!r} (neither {stem}.py nor {stem}/__init__.py)")
        return
    source = _file(packed, sources[0])
    Definitions(source, f"{sources[0]} in {place}").check_handler(name)
    if is_durable(source, name):
        raise InvalidInput(_DURABLE.format(handler=handler, file=sources[0]))


def _check_node(packed: Packed, handler: str) -> None:
    """Of programs of one's own only what Node's handlers are can be told."""
    module, _, name = handler.rpartition(".")
    for file in packed.names:
        is_its = file in [f"{module}.{ending}" for ending in ("js", "mjs", "cjs")]
        if is_its and is_durable_in_node(_file(packed, file), name):
            raise InvalidInput(_DURABLE.format(handler=handler, file=file))


def _file(packed: Packed, name: str) -> bytes:
    return next(b"".join(entry.chunks) for entry in unpack(packed.data) if entry.name == name)
