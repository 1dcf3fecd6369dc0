"""What functions of a grid should be given: what its agents have measured beside what its registry says."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from htcgrid_core.domain.errors import FunctionNotFound
from htcgrid_core.domain.usage import FunctionUsage
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import functions
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.recommending import Recommendation, recommend, together


def recommended(plane: Plane, name: str | None = None) -> list[Recommendation]:
    """By name; of one function, that of the last version that was measured.

    Args:
        name: of a function, as a session says it, or a deployed one's without a version; None for all.
    """
    measured = together(with_retries(plane, lambda: plane.store.usage(name or "", now=plane.clock.now())))
    if name is not None:
        exact = [each for each in measured if each.function == name]
        versions = [each for each in measured if each.function.startswith(f"{name}:")]
        measured = exact or sorted(versions, key=_version)[-1:]
        if not measured:
            return [_beside_declared(plane, recommend(name, []))]
    return [_beside_declared(plane, recommend(each.function, [each])) for each in measured]


def _beside_declared(plane: Plane, found: Recommendation) -> Recommendation:
    name, _, version = found.function.partition(":")
    if not (version.isdecimal() or not version) or "." in name:  # a module's
        return found
    with contextlib.suppress(FunctionNotFound):  # it was removed since, or never deployed
        deployed = functions.resolve(plane, name, int(version) if version else None)
        return replace(found, declared_memory_mb=deployed.memory_mb, declared_cpus=deployed.cpus)
    return found


def _version(usage: FunctionUsage) -> int:
    number = usage.function.rpartition(":")[2]
    return int(number) if number.isdecimal() else 0
