"""Rejects: events that are not what their function's schema says, put aside while the others are submitted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from htcgrid_core.client.files.whole_file import whole
from htcgrid_core.client.result_files import as_typed_json
from htcgrid_core.client.result_sink import NamedSink, ResultRows, ResultSink
from htcgrid_core.codecs.event_checks import EventCheck
from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.codecs.schemas import Found, Schema
from htcgrid_core.codecs.values import encode_json
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.extent import Extent
from htcgrid_core.domain.function import FunctionVersion

Rejects = str | os.PathLike[str] | ResultSink


def check_rejects(rejects: object, validate: Extent, version: FunctionVersion | None) -> None:
    """Whether rejects can be put there.

    Args:
        version: of the function that is submitted, if it was deployed.

    Raises:
        InvalidInput: they cannot, or not all events are looked at, or there is nothing to look at them by.
    """
    if validate != "all":
        raise InvalidInput("rejects= needs validate='all': what is not looked at cannot be put aside")
    if version is None or version.events_schema is None:
        raise InvalidInput(
            "rejects= puts aside what a function's schema does not allow, and this one has none: deploy it with "
            "events_schema=, or say which schema: checked(events, schema, rejects=...)"
        )
    if isinstance(rejects, ResultSink):
        rejects.check()
    elif not isinstance(rejects, str | os.PathLike):
        raise InvalidInput(f"rejects= is a file's path or what sink(...) returns, not a {type(rejects).__name__}")


def check_apart(rejects: object, events: object) -> None:
    """Whether rejects leave alone what the events are read from, which they would replace, or be among at the next run.

    Args:
        events: where they are; or a source, which has its place as ``name``.

    Raises:
        InvalidInput: they do not.
    """
    place = events if isinstance(events, str) else getattr(events, "name", None)
    if not isinstance(rejects, str | os.PathLike) or not isinstance(place, str):
        return
    read, written = Path(place).resolve(), Path(rejects).resolve()
    if read.exists() and (written == read or read in written.parents):
        raise InvalidInput(f"{rejects} is where the events are read from: put the rejects elsewhere")


def good_ones(
    version: FunctionVersion, session_id: str, events: Iterable[EncodedEvent], rejects: Rejects
) -> Iterator[EncodedEvent]:
    """Events without those that are put aside, where they all are once the last has passed.

    A file of JSON Lines has ``row``, ``errors`` and ``event`` of each. A sink has a row for each, in the place of what
    it has of this session: its number, ``path`` and ``reason`` of the first thing that is wrong, and ``event`` as JSON.

    Raises:
        InvalidInput: they cannot be written there.
    """
    schema, name = Schema(version.events_schema or {}), f"events of {version.name}"
    if not isinstance(rejects, ResultSink):
        with whole(Path(rejects)) as file:
            yield from EventCheck(schema, "all", name, lambda *one: file.write(reject_line(*one))).passed(events)
        return
    if isinstance(rejects, NamedSink):
        rejects.check_session(session_id)
    rows = ResultRows(session_id)
    try:
        yield from EventCheck(schema, "all", name, lambda *one: rows.put(iter([_sunk(*one)]))).passed(events)
        rejects.replace(rows)
    finally:
        rows.close()


def reject_line(row: int, event: Any, found: Found) -> bytes:
    """What a file says of one."""
    errors = [{"path": path, "reason": reason} for path, reason in found]
    return encode_json({"row": row, "errors": errors, "event": event}).strip() + b"\n"


def _sunk(row: int, event: Any, found: Found) -> tuple[int, dict[str, Any], bytes]:
    path, reason = found[0]
    told = {"path": path, "reason": reason, "event": encode_json(event).strip().decode("utf-8", "backslashreplace")}
    return row, told, as_typed_json(told, row)
