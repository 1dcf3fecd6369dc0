"""What a session was first seen to ask for: what is read later cannot change it.

Whether values may be loaded is decided by a session's row, and how by its spec. A server could answer with another spec
in each row, so both go by the first one.
"""

from __future__ import annotations

from dataclasses import replace

from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.session import SessionRecord, SessionSpec


def with_spec_of(first: SessionRecord, row: SessionRecord) -> SessionRecord:
    """A row that was read later, with the spec of the first."""
    return row if row.spec == first.spec else replace(row, spec=first.spec)


def check_codec(record: SessionRecord, spec: SessionSpec) -> None:
    """What was parsed of a row, against what the row tells those who do not parse it.

    Raises:
        CorruptPayload: pickles would be loaded where the row says that there are none.
    """
    if spec.codec == "pickle" and record.codec == "json":
        raise CorruptPayload(f"session {record.session_id} says in one row that its values are JSON and pickled")
