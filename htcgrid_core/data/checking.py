"""Events that are checked by a schema before any of them is submitted."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import json
import os
import pickle
import secrets
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from htcgrid_core.client.event_source import EventSource, events_as
from htcgrid_core.client.files.spool import Spool
from htcgrid_core.client.files.typed_events import TypedEvents
from htcgrid_core.client.vectors import check_vector
from htcgrid_core.codecs.values import encode_json
from htcgrid_core.data.base import Source, missing
from htcgrid_core.data.plain import json_value
from htcgrid_core.domain.errors import EventProblem, InvalidEvents, InvalidInput
from htcgrid_core.domain.printable import printable_line

Extent = Literal["all", "sample", "off"]
SHOWN = 20
SAMPLE_ROWS = 1_000  # the first ones, and of those after them
SAMPLE_STEP = 100  # one in so many
REASON_CHARACTERS = 200
Check = Callable[[Any], list[tuple[str, str]]]  # of a row: where in it, and what is wrong there


def checked(
    events: Iterable[Any], schema: Any, *, validate: Extent = "all", rejects: str | os.PathLike[str] | None = None
) -> Source:
    """Events that are all read and checked before the first is submitted.

    Args:
        events: a source, which is read twice; or any iterable, which is put on this machine's disk meanwhile.
        schema: a JSON Schema (a dict; needs jsonschema-rs), a pydantic model, a TypedDict or another type that pydantic
            knows, or a handler, whose first parameter's annotation it is. What is checked is the event as JSON has it.
        validate: "sample" checks the first 1,000 rows and one in a hundred after them; "off" none.
        rejects: a file of JSON Lines that gets what is wrong, with its row and reasons, instead of an error; the others
            are submitted. With "sample" it cannot be given.

    Raises:
        InvalidInput: the schema is none. When the events are taken, InvalidEvents: the first twenty problems, and how
            many rows have one.
    """
    if validate not in get_args(Extent):
        raise InvalidInput(f"validate={validate!r}: {', '.join(get_args(Extent))}")
    if rejects is not None and validate != "all":
        raise InvalidInput("rejects= needs validate='all': what is not looked at cannot be put aside")
    check_vector(events)
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
        with whole(self._rejects) as file:
            for number, row in rows:
                if self._validate == "sample" and number >= SAMPLE_ROWS and number % SAMPLE_STEP:
                    continue
                looked += 1
                found = self._check(row)
                if not found:
                    continue
                bad.append(number)
                told = [EventProblem(number, path, reason) for path, reason in found]
                problems += told[: SHOWN - len(problems)]
                if file is not None:
                    errors = [{"path": one.path, "reason": one.reason} for one in told]
                    file.write(encode_json({"row": number, "errors": errors, "event": row}).strip() + b"\n")
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


@contextlib.contextmanager
def whole(path: Path | None) -> Iterator[Any]:
    """A file that takes its name once it is complete; None for none."""
    if path is None:
        yield None
        return
    beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def check_of(schema: Any) -> Check:
    """What checks a row.

    Raises:
        InvalidInput: the schema is none, or its library is not installed.
    """
    if isinstance(schema, Mapping):
        return _by_json_schema(dict(schema))
    if inspect.isfunction(schema) or inspect.ismethod(schema):
        schema = _annotation(schema)
    return _by_type(schema)


def _by_json_schema(schema: dict[str, Any]) -> Check:
    try:
        import jsonschema_rs
    except ImportError as error:
        raise missing("checking by a JSON Schema", "jsonschema-rs", error) from error
    try:
        validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        raise InvalidInput(f"the schema is no JSON Schema: {error}") from error

    def check(row: Any) -> list[tuple[str, str]]:
        try:
            if validator.is_valid(row):
                return []
            return [(_path(error.instance_path), _reason(error.message)) for error in validator.iter_errors(row)]
        except ValueError as error:  # what JSON has not
            return [("", _reason(str(error)))]

    return check


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
            return [(_path(one["loc"]), _reason(one["msg"])) for one in error.errors(include_url=False)]
        except (TypeError, ValueError) as error:
            return [("", _reason(f"it is not JSON: {error}"))]
        return []

    return check


def _annotation(handler: Callable[..., Any]) -> Any:
    try:
        name = next(iter(inspect.signature(handler).parameters))
        return get_type_hints(handler)[name]
    except (StopIteration, KeyError, NameError, TypeError) as error:
        called = getattr(handler, "__qualname__", repr(handler))
        raise InvalidInput(f"{called} says of no type what its events are: annotate its first parameter") from error


def _path(parts: Iterable[Any]) -> str:
    """As in ``legs[2].notional``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")


def _reason(text: str) -> str:
    return printable_line(text if len(text) <= REASON_CHARACTERS else f"{text[:REASON_CHARACTERS]}...")


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
