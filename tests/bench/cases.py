"""Which sections there are, and the cases that a choice of names means."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from tests.bench.case import Case
from tests.bench.sections import (
    arrays,
    efficiency,
    granularity,
    million,
    payloads,
    roundtrip,
    runtimes,
    schemas,
    shared,
    sustained,
    throughput,
)

SECTIONS: dict[str, ModuleType] = {
    "throughput": throughput,
    "roundtrip": roundtrip,
    "million": million,
    "granularity": granularity,
    "sustained": sustained,
    "efficiency": efficiency,
    "payloads": payloads,
    "shared": shared,
    "arrays": arrays,
    "runtimes": runtimes,
    "schemas": schemas,
}


def chosen(names: Sequence[str]) -> list[Case]:
    """All cases, or those of the named sections (``throughput``) and subjects (``throughput:Ray``)."""
    cases = [Case(section, subject) for section, module in SECTIONS.items() for subject in module.SUBJECTS]
    unknown = set(names) - {str(case) for case in cases} - set(SECTIONS)
    if unknown:
        known = ", ".join([*SECTIONS, *map(str, cases)])
        raise ValueError(f"no such section or case: {', '.join(sorted(unknown))}; there are {known}")
    return [case for case in cases if not names or case.section in names or str(case) in names]
