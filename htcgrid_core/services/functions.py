"""The registry of functions: one blob a version, written once; the number is won by whoever writes it first."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from functools import partial
from typing import Literal

from htcgrid_core.codecs.packages import Packed
from htcgrid_core.codecs.schemas import Schema
from htcgrid_core.codecs.signing import NAME_BYTES, PACKAGE_PURPOSE, named_key, seal, unseal
from htcgrid_core.domain.agent_version import FIRST_AGENT_VERSION, ISOLATION_AGENT_VERSION
from htcgrid_core.domain.errors import FunctionNotFound, IncompatibleGrid, InvalidInput
from htcgrid_core.domain.function import (
    EXEC_WRAPPER,
    LOG_VARIABLES,
    REGISTERED_NAME,
    RESERVED_PREFIXES,
    RESERVED_VARIABLES,
    FunctionVersion,
)
from htcgrid_core.domain.printable import CONTROL
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries

REGISTRY = "registry/"
REMOVED = ".removed"
PYTHON_ENCODING: Literal["lambda"] = "lambda"  # of versions that are deployed from now on; older ones keep theirs


def deploy(plane: Plane, draft: FunctionVersion, package: Packed) -> FunctionVersion:
    """Store a package and register it as the next version; the latest one again if that asks for the same.

    One that is signed with a key which has retired is not that again, so that the key can be dropped.

    Safe beside other deployments of the same name: each gets a number of its own, and a crash leaves at most a package
    that no version names.

    Args:
        draft: the version, whose number, blob, sizes, encoding and time are not looked at.

    Raises:
        InvalidInput: it sets a variable that the runtime sets, or one of AWS's to what means nothing, its description
            would do something to terminals, its package does not fit its memory, or a schema is none.
    """
    if wrong := _wrong_with(draft, package):
        raise InvalidInput(f"function {draft.function!r} was not deployed: {wrong}")
    sizes = {"files": len(package.names), "unpacked_bytes": package.unpacked_bytes, "package_bytes": len(package.data)}
    checks = {"checks_events": draft.events_schema is not None, "checks_results": draft.results_schema is not None}
    draft = draft.model_copy(update={"encoding": PYTHON_ENCODING if draft.is_python else "grid", **checks})
    obeyed = max(draft.obeyed_from, ISOLATION_AGENT_VERSION if draft.isolation else FIRST_AGENT_VERSION)
    draft = draft.model_copy(update={"content": package.content, "min_agent_version": obeyed, **sizes})
    sealed = seal(plane.keys.signer(), "", PACKAGE_PURPOSE, package.data)
    blob = f"packages/{hashlib.sha256(sealed).hexdigest()}"
    while True:
        usable, last = _numbers(plane, draft.function)
        if usable and (latest := deployed(plane, draft.function, usable[-1])).asks_the_same_as(draft):
            is_there = with_retries(plane, partial(plane.blobs.touch, latest.blob))
            if is_there and not _is_signed_with_a_retired_key(plane, latest):
                return latest
        with_retries(plane, lambda: plane.blobs.put(blob, sealed))
        update = {"version": last + 1, "blob": blob, "deployed_at": plane.clock.now()}
        version = draft.model_copy(update=update)
        if _written_first(plane, version):
            return version


def _wrong_with(draft: FunctionVersion, package: Packed) -> str:
    """Why nobody could use it; empty if somebody can."""
    for variable in draft.variables:
        if variable in RESERVED_VARIABLES or variable.startswith(RESERVED_PREFIXES):
            return f"{variable} is set by the runtime"
    for variable, values in LOG_VARIABLES.items():
        if draft.variables.get(variable, values[0]).upper() not in [value.upper() for value in values]:
            return f"{variable} is one of {', '.join(values)}, not {draft.variables[variable]!r}"
    if EXEC_WRAPPER in draft.variables and draft.is_python and not draft.runtime_client:
        return (
            f"{EXEC_WRAPPER} names a program that starts AWS's client, and native workers have none: deploy it with "
            "runtime_client=True (--runtime-client)"
        )
    for whose, schema in (("events", draft.events_schema), ("results", draft.results_schema)):
        try:
            if schema is not None:
                Schema(schema)
        except InvalidInput as error:
            return f"of its {whose}, {error}"
    if found := CONTROL.search(draft.description):
        return f"its description has a control character: {found[0]!r}"
    if draft.concurrency > 1 and draft.is_python and not draft.runtime_client:
        return (
            "a native worker runs one task at a time: concurrency is for runtimes of one's own, and for AWS's client, "
            "with runtime_client=True (--runtime-client)"
        )
    if draft.concurrency > 1 and draft.isolation == "task":
        return "with isolation='task' each task has an environment of its own: concurrency has no meaning"
    if draft.result_format == "text" and draft.is_python:
        return "Python's runtimes return JSON: result_format is for runtimes of one's own"
    if draft.memory_mb is not None and len(package.data) > draft.memory_mb << 20:
        size = f"{len(package.data) / (1 << 20):.1f} MiB"
        return f"its package, {size} zipped, cannot be unpacked in its {draft.memory_mb} MiB of memory: raise memory_mb"
    return ""


def _is_signed_with_a_retired_key(plane: Plane, version: FunctionVersion) -> bool:
    keys = {plane.keys.signer().name, *(key.name for key in plane.keys.reusable(plane.clock.now()))}
    entry = _key(version.function, version.version)
    return any(
        named_key(bytes(with_retries(plane, partial(plane.blobs.get_range, at, 0, NAME_BYTES)))) not in keys
        for at in (entry, version.blob)
    )


def resolve(plane: Plane, function: str, version: int | None = None) -> FunctionVersion:
    """One version, or the latest.

    Raises:
        FunctionNotFound: there is none.
        CorruptPayload: its entry was damaged, or not written by a holder of this grid's key.
    """
    usable, last = _numbers(plane, function)
    if not usable:
        why = "its versions were removed" if last else "there is none of this name"
        raise FunctionNotFound(
            f"function {function!r} is not deployed: {why}. `htcgrid functions list` shows what is; a function of a "
            "module is written module.handler"
        )
    if version is None:
        version = usable[-1]
    if version not in usable:
        raise FunctionNotFound(f"function {function!r} has no version {version}; it has {_listed(usable)}")
    return deployed(plane, function, version)


def deployed(plane: Plane, function: str, version: int) -> FunctionVersion:
    """A version that was deployed, whether or not it was removed since.

    Raises:
        CorruptPayload: it never was, or its entry was damaged, or not written by a holder of this grid's key.
        IncompatibleGrid: a newer release deployed it.
    """
    data = with_retries(plane, lambda: plane.blobs.get(_key(function, version)))
    body = unseal(plane.keys, "", _purpose(function, version), data)
    try:
        return FunctionVersion.stored(body)
    except IncompatibleGrid as error:
        raise IncompatibleGrid(f"function {function}:{version}: {error}") from error


def versions(plane: Plane, function: str) -> list[FunctionVersion]:
    """All versions that can be used, oldest first."""
    return [deployed(plane, function, number) for number in _numbers(plane, function)[0]]


def catalogue(plane: Plane) -> list[FunctionVersion]:
    """The latest version of each function, by name."""
    found = _parsed(with_retries(plane, lambda: plane.blobs.keys(REGISTRY)))
    return [deployed(plane, name, max(usable)) for name, (usable, _) in sorted(found.items()) if usable]


def everything(plane: Plane) -> list[FunctionVersion]:
    """All versions that can be used, of all functions."""
    found = _parsed(with_retries(plane, lambda: plane.blobs.keys(REGISTRY)))
    return [deployed(plane, name, number) for name, (usable, _) in sorted(found.items()) for number in sorted(usable)]


def entries(plane: Plane) -> dict[str, str]:
    """Keys of the entries of all versions that can be used, by ``function:version``."""
    found = _parsed(with_retries(plane, lambda: plane.blobs.keys(REGISTRY)))
    return {f"{name}:{n}": _key(name, n) for name, (usable, _) in sorted(found.items()) for n in sorted(usable)}


def remove(plane: Plane, function: str, version: int | None = None) -> list[int]:
    """Remove one version or all, from new submissions: sessions that run one keep it. Returns the numbers.

    Raises:
        FunctionNotFound: there is none.
    """
    removed = [resolve(plane, function, version).version] if version is not None else _numbers(plane, function)[0]
    if not removed:
        resolve(plane, function)  # which says why there is none
    for number in removed:
        key = _key(function, number) + REMOVED
        with_retries(plane, lambda key=key: plane.blobs.put(key, b""))  # type: ignore[misc]  # a default is no argument
    return removed


def _key(function: str, version: int) -> str:
    return f"{REGISTRY}{function}/{version:08d}"


def _purpose(function: str, version: int) -> str:
    return f"function {function}:{version}"


def _numbers(plane: Plane, function: str) -> tuple[list[int], int]:
    """Versions that can be used, ascending, and the highest number ever given."""
    if "." in function and all(part.isidentifier() for part in function.split(".")):
        raise FunctionNotFound(
            f"{function!r} is a function of a module, which is not deployed: name one that is, NAME or NAME:VERSION; "
            "`htcgrid functions list` shows them"
        )
    if not REGISTERED_NAME.fullmatch(function):
        raise FunctionNotFound(
            f"{function!r} is not a function's name: write it as module.handler, or as NAME or NAME:VERSION of one "
            "that was deployed"
        )
    keys = with_retries(plane, lambda: plane.blobs.keys(f"{REGISTRY}{function}/"))
    usable, last = _parsed(keys).get(function, (set(), 0))
    return sorted(usable), last


def _parsed(keys: list[str]) -> dict[str, tuple[set[int], int]]:
    given, removed = defaultdict[str, set[int]](set), defaultdict[str, set[int]](set)
    for key in keys:
        name, _, number = key.removeprefix(REGISTRY).partition("/")
        if number.removesuffix(REMOVED).isdecimal():
            (removed if number.endswith(REMOVED) else given)[name].add(int(number.removesuffix(REMOVED)))
    return {name: (numbers - removed[name], max(numbers)) for name, numbers in given.items()}


def _written_first(plane: Plane, version: FunctionVersion) -> bool:
    """Write an entry under its number; False if another deployment has taken it."""
    key = _key(version.function, version.version)
    body = version.model_dump_json().encode()
    sealed = seal(plane.keys.signer(), "", _purpose(version.function, version.version), body)
    with_retries(plane, lambda: plane.blobs.put(key, sealed))
    return with_retries(plane, lambda: plane.blobs.get(key)) == sealed


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[-20:]))
