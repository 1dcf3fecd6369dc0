"""JSON Schemas: what is wrong with a value, where in it and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from htcgrid_core.codecs.buffers import Buffer
from htcgrid_core.codecs.values import decode_json
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.printable import printable_line
from htcgrid_core.domain.task_error import RESULT_MISFIT, TaskError

REASON_CHARACTERS = 200
SHOWN = 3  # problems of one value in a sentence
_COMPILED = 64

Found = list[tuple[str, str]]  # where in a value, as in ``legs[2].notional``, and what is wrong there


class Schema:
    """A JSON Schema, of which ``format`` is checked, too. It refers to nothing outside of itself.

    Raises:
        InvalidInput: it is none.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        import jsonschema_rs  # 15 MB, and few functions have a schema

        try:
            json.dumps(dict(schema), allow_nan=False)  # it is stored as JSON, which has neither NaN nor a set
            self._validator = jsonschema_rs.validator_for(dict(schema), validate_formats=True, retriever=_nowhere)
        except jsonschema_rs.ValidationError as error:
            where = path_text(error.instance_path)
            reason = cut_reason(f"{where}: {error.message}" if where else error.message)
            raise InvalidInput(f"the schema is no JSON Schema: {reason}") from error
        except (ValueError, TypeError, jsonschema_rs.ReferencingError) as error:
            raise InvalidInput(f"the schema is no JSON Schema: {cut_reason(str(error))}") from error

    def problems(self, value: Any) -> Found:
        """What is wrong with a value; empty if nothing is."""
        try:
            if self._validator.is_valid(value):
                return []
            found = [(path_text(one.instance_path), one.message) for one in self._validator.iter_errors(value)]
        except ValueError as error:  # what JSON has not
            found = [("", str(error))]
        return [(path, cut_reason(reason)) for path, reason in found]

    def problems_in(self, data: Buffer) -> Found:
        """What is wrong with an encoded value."""
        return self.problems(decode_json(data))


@lru_cache(_COMPILED)
def compiled(text: str) -> Schema:
    """A schema by its JSON, compiled once.

    Raises:
        InvalidInput: it is none.
    """
    return Schema(decode_json(text.encode()))


def sentence(found: Found) -> str:
    """The first problems of one value."""
    told = "; ".join(f"{path}: {reason}" if path else reason for path, reason in found[:SHOWN])
    return f"{told}; and {len(found) - SHOWN} more" if len(found) > SHOWN else told


def misfit(found: Found) -> TaskError:
    """Why a task whose result does not fit its function's schema has failed."""
    return TaskError(RESULT_MISFIT, f"the result is not what its function's schema says: {sentence(found)}")


def path_text(parts: Iterable[Any]) -> str:
    """As in ``legs[2].notional``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")


def cut_reason(text: str) -> str:
    """A reason on one line, not longer than one reads."""
    return printable_line(text if len(text) <= REASON_CHARACTERS else f"{text[:REASON_CHARACTERS]}...")


def _nowhere(uri: str) -> Any:
    raise ValueError(f"{uri} is outside of the schema, and nothing is fetched")
