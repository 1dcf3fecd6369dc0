"""Functions that are deployed and run by name: what a client does with the registry."""

from __future__ import annotations

import os
import sys
from typing import Any

from pydantic import ValidationError

from htcgrid_core.client.deployment import Deployment
from htcgrid_core.domain.errors import FunctionNotFound, InvalidInput, SessionNotFound
from htcgrid_core.domain.function import RESERVED_PREFIXES, RESERVED_VARIABLES, FunctionVersion
from htcgrid_core.domain.printable import CONTROL
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import functions


def is_registered(function: object) -> bool:
    """Whether it is the name of a deployed function: one without a dot, unlike ``module.handler``."""
    return isinstance(function, str) and "." not in function


def named(function: str) -> tuple[str, int | None]:
    """Name and version of ``NAME`` or ``NAME:VERSION``.

    Raises:
        FunctionNotFound: the version is no number.
    """
    name, separator, number = function.partition(":")
    if separator and not (number.isascii() and number.isdecimal()):
        raise FunctionNotFound(
            f"{function!r} is not a function's name: a version is a number, as in {name or 'NAME'}:3"
        )
    return name, int(number) if separator else None


def registered(plane: Plane, function: str, session_id: str | None) -> FunctionVersion:
    """The version that ``NAME`` or ``NAME:VERSION`` means now.

    Args:
        session_id: of an idempotency token, if there is one. A session that was submitted under it keeps the version
            it has: submitting it again after a deployment is no other submission.

    Raises:
        FunctionNotFound: nothing of this name is deployed.
    """
    name, version = named(function)
    if session_id is not None and version is None:
        try:
            record = plane.store.session(session_id, plane.clock.now())
        except SessionNotFound:
            return functions.resolve(plane, name)
        package = record.parsed_spec().function.package
        if package is not None and package.function == name:
            return functions.deployed(plane, name, package.version)
    return functions.resolve(plane, name, version)


def deploy(
    deployment: Deployment,
    name: str,
    path: str | os.PathLike[str],
    *,
    handler: str,
    runtime: str | None,
    **options: Any,
) -> FunctionVersion:
    """Package and register; see ``Grid.deploy``."""
    from htcgrid_core.client.packaging import BOOTSTRAP, package  # zip and compression: only who deploys needs them

    runtime = runtime or f"python3.{sys.version_info.minor}"
    handler = handler or (BOOTSTRAP if runtime.startswith("provided") else "")
    drafted = {"function": name, "version": 1, "handler": handler, "runtime": runtime, **options}
    drafted |= {"blob": "", "content": "", "files": 0, "unpacked_bytes": 0, "package_bytes": 0}
    try:
        draft = FunctionVersion.model_validate({**drafted, "deployed_by": deployment.actor})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']} (got {e['input']!r})" for e in error.errors())
        raise InvalidInput(f"function {name!r} was not deployed: {wrong}") from error
    for variable in draft.variables:
        if variable in RESERVED_VARIABLES or variable.startswith(RESERVED_PREFIXES):
            raise InvalidInput(f"function {name!r} was not deployed: {variable} is set by the runtime")
    if found := CONTROL.search(draft.description):
        raise InvalidInput(f"function {name!r} was not deployed: its description has a control character: {found[0]!r}")
    packed = package(path, handler, runtime)
    if draft.memory_mb is not None and len(packed.data) > draft.memory_mb << 20:
        size = f"{len(packed.data) / (1 << 20):.1f} MiB"
        text = f"its package, {size} zipped, cannot be unpacked in its {draft.memory_mb} MiB of memory: raise memory_mb"
        raise InvalidInput(f"function {name!r} was not deployed: {text}")
    sizes = {"files": len(packed.names), "unpacked_bytes": packed.unpacked_bytes, "package_bytes": len(packed.data)}
    update = {"content": packed.content, **sizes}
    return functions.deploy(deployment.plane, draft.model_copy(update=update), packed)
