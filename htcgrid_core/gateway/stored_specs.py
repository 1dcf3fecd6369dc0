"""Specs of sessions that were read or submitted lately: each is parsed once, not for every page of its results."""

from __future__ import annotations

from htcgrid_core.domain.session import SessionRecord, SessionSpec

SPECS_KEPT = 256


class StoredSpecs:
    """Specs by their text, which says all of them. May be used from many threads."""

    def __init__(self) -> None:
        self._specs: dict[str, SessionSpec] = {}

    def of(self, record: SessionRecord) -> SessionSpec:
        """The spec of a session."""
        spec = self._specs.get(record.spec)
        if spec is None:
            spec = record.parsed_spec()
            self._keep(record.spec, spec)
        return spec

    def add(self, spec: SessionSpec) -> None:
        """Keep what is about to be written."""
        self._keep(spec.text, spec)

    def _keep(self, text: str, spec: SessionSpec) -> None:
        if len(self._specs) >= SPECS_KEPT:
            self._specs.clear()
        self._specs[text] = spec
