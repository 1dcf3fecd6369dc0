"""The OpenAPI document, made from the table of operations and its models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import htcgrid_core
from htcgrid_core.api import models
from htcgrid_core.api.operations import BYTES, IDEMPOTENCY_KEY, JSON, NDJSON, OPERATIONS, SSE, Operation
from htcgrid_core.codecs import problems
from htcgrid_core.codecs.problems import KINDS, MEDIA_TYPE, Kind
from htcgrid_core.codecs.wire import NEXT, RAW
from htcgrid_core.domain.alias import ALIAS_NAME
from htcgrid_core.domain.function import REGISTERED_NAME
from htcgrid_core.services.task_states import Code

_REF = "#/components/schemas/{model}"
_PATH_PARAMETERS: dict[str, dict[str, Any]] = {
    "id": {"type": "string", "pattern": r"^[a-z0-9.-]{4,97}$"},
    "index": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    "number": {"type": "integer", "minimum": 0, "maximum": 99_999},
    "version": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    "name": {"type": "string", "pattern": f"^{REGISTERED_NAME.pattern}$"},
    "alias": {"type": "string", "pattern": f"^{ALIAS_NAME.pattern}$"},
    "pool": {"type": "string", "pattern": r"^[a-z0-9-]{1,32}$"},
}
_CODES = "; ".join(f"{code.value} {code.name}" for code in Code)
_ALWAYS = (
    problems.MALFORMED, problems.INVALID, problems.WRONG_HOST, problems.INTERNAL, problems.FORBIDDEN,
    KINDS["invalid-input"],
)  # fmt: skip
_WITH_CREDENTIALS = (
    problems.UNAUTHORIZED, problems.EXPIRED, problems.TOO_MANY, KINDS["grid-unavailable"], problems.STOPPING,
)  # fmt: skip
_WITH_BODY = (problems.MEDIA, problems.TOO_LARGE, KINDS["result-too-large"])


@cache
def document() -> bytes:
    """The document, as JSON."""
    return orjson.dumps(_document())


def _document() -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "HTC-Grid",
            "version": htcgrid_core.__version__,
            "description": "Sessions of many short, independent tasks on a grid. Errors are problems of RFC 9457, whose"
            " `code` is one of a fixed list. Times are seconds since the epoch.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    }


def _schemas() -> dict[str, Any]:
    used: dict[type[BaseModel], None] = {models.Problem: None}
    for operation in OPERATIONS:
        shown = (operation.answer, operation.other_answer, operation.body)
        used |= dict.fromkeys(one for one in shown if one is not None)
    _, made = models_json_schema([(one, "validation") for one in used], ref_template=_REF)
    found: dict[str, Any] = made["$defs"]
    for schema in found.values():
        _name_keys(schema)
        schema["description"] = _first_line(schema.get("description", ""))
    found["Problem"]["properties"]["code"]["enum"] = sorted(KINDS)
    return found


def _name_keys(schema: dict[str, Any]) -> None:
    """Objects whose keys have a pattern have no others: pydantic's schema would let them pass."""
    for told in schema.get("properties", {}).values():
        if (patterns := told.pop("patternProperties", None)) is not None:
            ((pattern, value),) = patterns.items()
            told |= {"propertyNames": {"pattern": pattern}, "additionalProperties": value}


def _first_line(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())


def _operation(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_headers(operation)],
        "responses": {str(status): answer for status, answer in _responses(operation)},
    }
    if operation.scope is None:
        told["security"] = []
    else:
        told["description"] = f"Needs scope `{operation.scope}`."
    if content := _body(operation):
        told["requestBody"] = {"required": True, "content": content}
    return told


def _path_parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": _PATH_PARAMETERS[name]}


def _query_parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    if operation.query is None:
        return
    schema = operation.query.model_json_schema(ref_template=_REF)
    required, defs = schema.get("required", ()), schema.get("$defs", {})
    for name, told in schema["properties"].items():
        yield {"name": name, "in": "query", "required": name in required, "schema": _inlined(told, defs)}


def _inlined(schema: Any, defs: dict[str, Any]) -> Any:
    """A parameter's schema by itself; ``null`` is what it is without the parameter."""
    if isinstance(schema, list):
        return [_inlined(one, defs) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in schema:
        (some,) = [one for one in schema["anyOf"] if one != {"type": "null"}]
        return _inlined(some, defs)
    kept = {name: value for name, value in schema.items() if name not in ("title", "default", "description")}
    return {name: _inlined(value, defs) for name, value in kept.items()}


def _headers(operation: Operation) -> Iterator[dict[str, Any]]:
    if operation.idempotent:
        schema = {"type": "string", "pattern": IDEMPOTENCY_KEY}
        yield {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "The same request again with the same key is the same session; another one is refused.",
            "schema": schema,
        }
    if operation.streams == SSE:
        yield {"name": "Last-Event-ID", "in": "header", "required": False, "schema": {"type": "string"}}


def _body(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.body is not None:
        content[JSON] = {"schema": _ref(operation.body)}
    for media in operation.media:
        if media == JSON:
            content[media] = {"schema": {}}
        elif media == NDJSON:
            content[media] = {"schema": {"description": "JSON values of any kind, one a line."}}
        elif media != RAW:  # between releases of this project's own client and server alone
            content[media] = {"schema": {"type": "string", "contentEncoding": "binary"}}
    return content


def _responses(operation: Operation) -> Iterator[tuple[int, dict[str, Any]]]:
    yield operation.status, _success(operation) | _links(operation)
    if operation.other_status:
        answer = operation.other_answer or operation.answer
        yield operation.other_status, _success(replace(operation, answer=answer))
    by_status: dict[int, list[Kind]] = {}
    for kind in dict.fromkeys(_kinds(operation)):
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        described = "; ".join(f"`{kind.code}`: {kind.title}" for kind in kinds)
        yield status, {"description": described, "content": {MEDIA_TYPE: {"schema": _ref(models.Problem)}}}


def _links(operation: Operation) -> dict[str, Any]:
    """What can be asked for next, of a session or a version that was just made."""
    made = {"create_session": "/v1/sessions/{id}", "deploy_version": "/v1/functions/{name}"}.get(operation.id)
    if made is None:
        return {}
    name = "id" if operation.id == "create_session" else "name"
    value = "$response.body#/id" if name == "id" else "$request.path.name"
    others = [one.id for one in OPERATIONS if one.path.startswith(made) and one.id != operation.id]
    return {"links": {one: {"operationId": one, "parameters": {name: value}} for one in others}}


def _success(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {"description": operation.summary}
    if operation.streams == NDJSON:
        schema = _ref(operation.answer) if operation.answer is not None else {}
        told["content"] = {NDJSON: {"schema": {"type": "string", "description": "One a line."}, "x-line": schema}}
        told["headers"] = {NEXT: {"schema": {"type": "string"}, "description": "Where the next page begins."}}
    elif operation.streams == BYTES:
        told["content"] = {BYTES: {"schema": {"type": "string", "contentEncoding": "binary", "description": _CODES}}}
    elif operation.streams:
        told["content"] = {operation.streams: {"schema": _ref(models.ProgressEvent)}}
    elif operation.answer is not None:
        told["content"] = {JSON: {"schema": _ref(operation.answer)}}
    elif operation.id == "openapi":
        told["content"] = {JSON: {"schema": {"type": "object"}}}
    return told


def _kinds(operation: Operation) -> Iterable[Kind]:
    yield from operation.kinds
    yield from _ALWAYS
    if operation.scope is not None:
        yield from _WITH_CREDENTIALS
    if operation.body is not None or operation.media:
        yield from _WITH_BODY
    if "{" in operation.path:
        yield problems.NOT_FOUND


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}
