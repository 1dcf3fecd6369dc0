"""Deploying a function: its package and options, checked and handed to the grid."""

from __future__ import annotations

import os
import sys
from typing import Any

from pydantic import ValidationError

from htcgrid_core.client.function_schemas import HANDLER, Whose, schema_of, schemas_of_handler
from htcgrid_core.codecs.schemas import cut_reason
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.gateway.protocol import Gateway


def deploy(
    gateway: Gateway,
    name: str,
    path: str | os.PathLike[str],
    *,
    handler: str,
    runtime: str | None,
    events_schema: Any,
    results_schema: Any,
    **options: Any,
) -> FunctionVersion:
    """Package and register; see ``Grid.deploy``."""
    from htcgrid_core.client.packaging import BOOTSTRAP, package  # zip and compression: only who deploys needs them

    runtime = runtime or f"python3.{sys.version_info.minor}"
    handler = handler or (BOOTSTRAP if runtime.startswith("provided") else "")
    drafted = {"function": name, "version": 1, "handler": handler, "runtime": runtime, **options}
    drafted |= _schemas(path, handler, runtime, {"events": events_schema, "results": results_schema})
    drafted |= {"blob": "", "content": "", "files": 0, "unpacked_bytes": 0, "package_bytes": 0}
    try:
        draft = FunctionVersion.model_validate(drafted)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']} (got {cut_reason(repr(e['input']))})" for e in error.errors()
        )
        raise InvalidInput(f"function {name!r} was not deployed: {wrong}") from error
    return gateway.deploy(draft, package(path, handler, runtime))


def _schemas(path: str | os.PathLike[str], handler: str, runtime: str, given: dict[Whose, Any]) -> dict[str, Any]:
    """The fields of a version that hold schemas."""
    wanted = tuple(whose for whose, one in given.items() if isinstance(one, str))
    for whose in wanted:
        if given[whose] != HANDLER:
            raise InvalidInput(f"{whose}_schema={given[whose]!r}: a schema, a type, a function, or {HANDLER!r}")
    if wanted:
        given |= dict(zip(wanted, schemas_of_handler(path, handler, runtime, wanted), strict=True))
    return {f"{whose}_schema": schema_of(one, whose) for whose, one in given.items()}
