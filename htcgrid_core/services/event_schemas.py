"""The schemas that deployed functions have for their events and results, as the registry keeps them."""

from __future__ import annotations

import json

from htcgrid_core.codecs.event_checks import EventCheck
from htcgrid_core.codecs.schemas import compiled
from htcgrid_core.domain.extent import Extent
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.domain.tenant_names import owner_of
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.functions import deployed

VERSIONS_KNOWN = 256


class Schemas:
    """Schemas of versions, which never change, so that each is read once. May be used from many threads."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._known: dict[tuple[str, int], tuple[str, str]] = {}

    def event_check(self, spec: SessionSpec, extent: Extent) -> EventCheck | None:
        """What a session's events are to pass; None if that is nothing.

        Raises:
            CorruptPayload: the registry's entry is damaged.
        """
        package = spec.function.package
        if extent == "off" or package is None or not package.checks_events:
            return None
        name = f"{owner_of(package.function)[1]}:{package.version}"
        return EventCheck(compiled(self._of(spec)[0]), extent, f"events of {name}")

    def of_results(self, spec: SessionSpec) -> str:
        """The schema of a session's results as JSON text; empty for none.

        Raises:
            CorruptPayload: the registry's entry is damaged.
        """
        package = spec.function.package
        return "" if package is None or not package.checks_results else self._of(spec)[1]

    def _of(self, spec: SessionSpec) -> tuple[str, str]:
        package = spec.function.package
        assert package is not None, "only deployed functions have schemas"
        key = package.function, package.version
        known = self._known.get(key)
        if known is None:
            version = deployed(self._plane, *key)
            known = json.dumps(version.events_schema), json.dumps(version.results_schema)
            if len(self._known) >= VERSIONS_KNOWN:
                self._known.clear()
            self._known[key] = known
        return known
