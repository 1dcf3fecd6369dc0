"""Records as events: decoded, checked, and put aside where they are not what they should be."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import quote

from htcgrid_core.client.files.whole_file import whole
from htcgrid_core.codecs.values import encode_json
from htcgrid_core.data.checking import Check, check_of
from htcgrid_core.data.streams.journal import Range
from htcgrid_core.domain.errors import EventProblem, InvalidEvents, InvalidInput
from htcgrid_core.ports.stream import StreamRecord

Format = Literal["json", "text", "base64"]
SHOWN = 20


class Decoding:
    """What becomes of the records of a range.

    Args:
        kind: what a record is.
        schema: as ``checked`` takes it; None for whatever they are.
        rejects: a folder with a file for each range that has records which are no events; None: they are an error.
    """

    def __init__(self, kind: Format, schema: Any, rejects: Path | None) -> None:
        if kind not in get_args(Format):
            raise InvalidInput(f"format={kind!r}: {', '.join(get_args(Format))}")
        self._kind, self._rejects = kind, rejects
        self._check = None if schema is None else check_of(schema)

    def events(
        self, stream: str, one: Range, records: Sequence[StreamRecord], functions: Check | None = None
    ) -> list[Any]:
        """The events of a range. What is put aside is in its file before this returns; the same file at each try.

        Args:
            functions: what a deployed function says its events are; None if it says nothing.

        Raises:
            InvalidEvents: some are none, and there is nowhere to put them; rows are counted from the range's first.
        """
        events: list[Any] = []
        problems: list[EventProblem] = []
        aside: list[bytes] = []
        checks = [check for check in (self._check, functions) if check is not None]
        for row, record in enumerate(records):
            event, found = self._event(record, checks)
            if not found:
                events.append(event)
                continue
            problems += [EventProblem(row, f"at {record.position}{path and f', {path}'}", why) for path, why in found]
            told = {
                "stream": stream,
                "partition": one.partition,
                "position": record.position,
                "errors": [{"path": path, "reason": reason} for path, reason in found],
                "data": base64.b64encode(record.data).decode(),
            }
            aside.append(encode_json(told).strip() + b"\n")
        if aside and self._rejects is None:
            raise InvalidEvents(f"{stream} {one.partition}", problems[:SHOWN], len(aside), len(records))
        if aside and self._rejects is not None:
            with whole(self._rejects / f"{quote(one.partition, safe='')}-{one.first}.jsonl") as file:
                file.writelines(aside)
        return events

    def _event(self, record: StreamRecord, checks: Sequence[Check]) -> tuple[Any, list[tuple[str, str]]]:
        if self._kind == "base64":
            event: Any = base64.b64encode(record.data).decode()
        else:
            try:
                text = record.data.decode("utf-8")
                event = json.loads(text) if self._kind == "json" else text
            except (ValueError, RecursionError) as error:
                return None, [("", f"it is not {'JSON' if self._kind == 'json' else 'UTF-8'}: {error}")]
        return event, [problem for check in checks for problem in check(event)]
