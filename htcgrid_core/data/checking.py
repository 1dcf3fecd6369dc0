"""Events that are checked by a schema before any of them is submitted."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import pickle
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from htcgrid_core.client.event_source import EventSource, events_as
from htcgrid_core.client.files.spool import Spool
from htcgrid_core.client.files.typed_events import TypedEvents
from htcgrid_core.client.files.whole_file import whole
from htcgrid_core.client.function_schemas import annotation
from htcgrid_core.client.rejects import check_apart, reject_line
from htcgrid_core.client.vectors import check_vector
from htcgrid_core.codecs.event_checks import SHOWN
from htcgrid_core.codecs.schemas import Found, Schema, cut_reason, path_text
from htcgrid_core.codecs.values import encode_json
from htcgrid_core.data.base import Source
from htcgrid_core.data.plain import json_value
from htcgrid_core.domain.errors import EventProblem, InvalidEvents, InvalidInput
from htcgrid_core.domain.extent import Extent, check_extent, is_looked_at

Check = Callable[[Any], Found]  # of a row


def checked(
    events: Iterable[Any], schema: Any, *, validate: Extent = "all", rejects: str | os.PathLike[str] | None = None
) -> Source:
    """Events that are all read and checked before the first is submitted.

    Args:
        events: a source, which is read twice; or any iterable, which is put on this machine's disk meanwhile.
        schema: a JSON Schema (a dict), a pydantic model, a TypedDict or another type that pydantic
            knows, or a handler, whose first parameter's annotation it is. What is checked is the event as JSON has it.
        validate: "sample" checks the first 1,000 rows and one in a hundred after them; "off" none.
        rejects: a file of JSON Lines that gets what is wrong, with its row and reasons, instead of an error; the others
            are submitted. With "sample" it cannot be given.

    Raises:
        InvalidInput: the schema is none. When the events are taken, InvalidEvents: the first twenty problems, and how
            many rows have one.
    """
    check_extent(validate)
    if rejects is not None and validate != "all":
        raise InvalidInput("rejects= needs validate='all': what is not looked at cannot be put aside")
    check_vector(events)
    check_apart(rejects, events)
    return _Checked(events, schema, validate, None if rejects is None else Path(rejects))


class _Checked(Source):
    def __init__(self, events: Iterable[Any], schema: Any, validate: Extent, rejects: Path | None) -> None:
        self.name = getattr(events, "name", f"a {type(events).__name__}")
        self._events, self._validate, self._rejects = events, validate, rejects
        self._check, self._schema = check_of(schema), schema

    @property
    def is_pinned(self) -> bool:
        """As what is checked is."""
        return isinstance(self._events, Source) and self._events.is_pinned

    def identity(self) -> str:
        """That of what is checked: the same rows are the same input. What is put aside depends on the schema."""
        if not isinstance(self._events, EventSource):
            raise InvalidInput(f"{self.name} has no identity to make a token of: say token=")
        if self._rejects is None:
            return self._events.identity()
        return f"{self._events.identity()} without what is not {_text_of(self._schema)}"

    def rows(self, *, as_json: bool) -> Iterator[Any]:
        """See ``Source``."""
        events = self._events
        if isinstance(events, Source) and events.is_pinned:
            bad = self._all_checked(enumerate(events.as_json()))
            yield from _without(bad, events.as_json() if as_json else iter(events))
            return
        is_typed = isinstance(events, TypedEvents | EventSource) and not as_json
        with Spool() as spool:
            rows = enumerate(events_as("json" if as_json else "pickle", events))
            spool.put((number, pickle.dumps(row, protocol=5)) for number, row in rows)
            kept = ((number, pickle.loads(data)) for number, data in spool)  # noqa: S301 - made above
            bad = (
                self._all_checked((number, _plain(row)) for number, row in kept)
                if is_typed
                else self._all_checked(kept)
            )
            yield from _without(bad, (pickle.loads(data) for _, data in spool))  # noqa: S301

    def _all_checked(self, rows: Iterable[tuple[int, Any]]) -> array[int]:
        """The numbers of rows to leave out.

        Raises:
            InvalidEvents: there are some, and nowhere to put them.
        """
        bad: array[int] = array("Q")
        if self._validate == "off":
            return bad
        problems: list[EventProblem] = []
        looked = 0
        with nullcontext() if self._rejects is None else whole(self._rejects) as file:
            for number, row in rows:
                if not is_looked_at(self._validate, number):
                    continue
                looked += 1
                found = self._check(row)
                if not found:
                    continue
                bad.append(number)
                told = [EventProblem(number, path, reason) for path, reason in found]
                problems += told[: SHOWN - len(problems)]
                if file is not None:
                    file.write(reject_line(number, row, found))
        if bad and self._rejects is None:
            raise InvalidEvents(self.name, problems, len(bad), looked)
        return bad


def _plain(row: Any) -> Any:
    """A typed row as JSON has it; itself, if there is nothing for it, which its check then says."""
    try:
        return json_value(row)
    except (TypeError, ValueError):
        return row


def _text_of(schema: Any) -> str:
    """What a schema is, as text that is the same in another process."""
    if isinstance(schema, Mapping):
        return json.dumps(schema, sort_keys=True, default=str)
    return f"{getattr(schema, '__module__', '')}.{getattr(schema, '__qualname__', repr(schema))}"


def _without(bad: array[int], rows: Iterator[Any]) -> Iterator[Any]:
    """The rows but for those with these numbers."""
    left = itertools.chain(bad, itertools.repeat(-1))
    skipped = next(left)
    for number, row in enumerate(rows):
        if number == skipped:
            skipped = next(left)
        else:
            yield row


def check_of(schema: Any) -> Check:
    """What checks a row.

    Raises:
        InvalidInput: the schema is none, or its library is not installed.
    """
    if isinstance(schema, Mapping):
        return Schema(schema).problems
    if inspect.isfunction(schema) or inspect.ismethod(schema):
        schema = annotation(schema, "events")
    return _by_type(schema)


def _by_type(kind: Any) -> Check:
    from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

    try:
        adapter = TypeAdapter(kind)
    except (PydanticSchemaGenerationError, PydanticUserError, NameError) as error:
        raise InvalidInput(f"{kind!r} is no schema: {error}") from error

    def check(row: Any) -> list[tuple[str, str]]:
        try:
            adapter.validate_json(encode_json(row), strict=True)
        except ValidationError as error:
            return [(path_text(one["loc"]), cut_reason(one["msg"])) for one in error.errors(include_url=False)]
        except (TypeError, ValueError) as error:
            return [("", cut_reason(f"it is not JSON: {error}"))]
        return []

    return check


def schema_in(path: str) -> dict[str, Any]:
    """A JSON Schema in a file.

    Raises:
        InvalidInput: there is none.
    """
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is no JSON Schema: {error}") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"{path} is no JSON Schema: it is no object")
    return found
