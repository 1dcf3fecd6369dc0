"""What a function takes and returns, as JSON Schemas: given, of a type, or of its handler's annotations."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_type_hints

from htcgrid_core.codecs.schemas import cut_reason
from htcgrid_core.domain.errors import InvalidInput

HANDLER = "handler"  # in the place of a schema: what the handler's annotations say
Whose = Literal["events", "results"]
_SECONDS = 60.0


def schema_of(given: Any, whose: Whose) -> dict[str, Any] | None:
    """A JSON Schema.

    Args:
        given: one; or a pydantic model, a TypedDict or another type that pydantic knows; or a function, whose first
            parameter's annotation it is, or of results what it returns. None for none.

    Raises:
        InvalidInput: it is none of these.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        return dict(given)
    if inspect.isfunction(given) or inspect.ismethod(given):
        given = annotation(given, whose)
    from pydantic import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter

    try:
        mode: Literal["validation", "serialization"] = "validation" if whose == "events" else "serialization"
        return TypeAdapter(given).json_schema(mode=mode)
    except (PydanticSchemaGenerationError, PydanticUserError, PydanticInvalidForJsonSchema, NameError) as error:
        raise InvalidInput(f"{given!r} is no schema: {cut_reason(str(error))}") from error


def annotation(function: Callable[..., Any], whose: Whose) -> Any:
    """The type of a function's first parameter, or of what it returns.

    Raises:
        InvalidInput: it says of none.
    """
    try:
        name = "return" if whose == "results" else next(iter(inspect.signature(function).parameters))
        return get_type_hints(function)[name]
    except (StopIteration, KeyError, NameError, TypeError) as error:
        called = getattr(function, "__qualname__", repr(function))
        what = "what it returns" if whose == "results" else "its first parameter"
        raise InvalidInput(f"{called} says of no type what its {whose} are: annotate {what}") from error


def schemas_of_handler(
    path: str | os.PathLike[str], handler: str, runtime: str, wanted: tuple[Whose, ...]
) -> list[dict[str, Any]]:
    """The schemas that a handler's annotations say, in a process of its own, which imports the package's module.

    Raises:
        InvalidInput: it has none, cannot be imported here, or is of another runtime than this Python.
    """
    own = f"python3.{sys.version_info.minor}"
    if runtime != own:
        raise InvalidInput(f"annotations are read by this Python, {own}, not by {runtime}: give the schema itself")
    where = str(Path(path).absolute())
    command = [sys.executable, "-m", "htcgrid_core.client.function_schemas", where, handler, *wanted]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, text=True, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidInput(f"{handler} could not be imported for its annotations: {error}") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise InvalidInput(f"{handler} says no schema: {lines[-1] if lines else f'exit code {done.returncode}'}")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _tell(where: str, handler: str, wanted: list[Whose]) -> None:
    """In the process of its own: what handlers print when they are imported goes to stderr."""
    import importlib

    told = os.dup(1)
    os.dup2(2, 1)
    sys.path.insert(0, where)
    module, _, name = handler.replace("/", ".").rpartition(".")
    function = getattr(importlib.import_module(module), name)
    data = json.dumps([schema_of(annotation(function, one), one) for one in wanted])
    with os.fdopen(told, "w") as file:
        file.write(data)


if __name__ == "__main__":
    _tell(sys.argv[1], sys.argv[2], sys.argv[3:])  # type: ignore[arg-type]  # of whoever started this process
