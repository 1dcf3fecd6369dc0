"""Deployed functions of a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.responses import Response

from htcgrid_core.api import functions, models, views
from htcgrid_core.api.call import Call, Handler, told
from htcgrid_core.api.failure import Failure
from htcgrid_core.codecs.packages import pack, unpack
from htcgrid_core.codecs.problems import KINDS
from htcgrid_core.domain.errors import FunctionNotFound, InvalidInput
from htcgrid_core.domain.function import REGISTERED_NAME, FunctionVersion
from htcgrid_core.domain.session import tenant_of
from htcgrid_core.domain.tenant_names import name_within, stored_name


def _shown(call: Call, found: list[FunctionVersion]) -> Response:
    if call.is_raw:
        return call.raw({"functions": [views.function_row(one) for one in found]})
    return call.answer(models.Functions(functions=[views.function(one) for one in found]))


def _one(call: Call, found: FunctionVersion) -> Response:
    return call.raw({"function": views.function_row(found)}) if call.is_raw else call.answer(views.function(found))


async def _list(call: Call) -> Response:
    tenant = call.tenant(call.query.tenant)
    return _shown(call, await call.run(functions.latest, call.gateway, tenant))


async def _versions(call: Call) -> Response:
    tenant, name = call.tenant(call.query.tenant), call.text("name")

    def versions() -> list[FunctionVersion]:
        try:
            found = call.gateway.functions(functions.stored(tenant, name))
        except FunctionNotFound:
            raise functions.missing(name) from None
        if not found:
            raise functions.missing(name)
        return found

    return _shown(call, await call.run(versions))


async def _version(call: Call) -> Response:
    tenant, name, number = call.tenant(call.query.tenant), call.text("name"), call.number("version")
    again = call.query.session
    if again is not None and not call.principal.serves(tenant_of(again)):
        again = None
    version = call.query.alias or number or None
    found = await call.run(functions.find, call.gateway, call.principal, tenant, name, version, again)
    return _one(call, found)


async def _deploy(call: Call) -> Response:
    query: models.NewVersion = call.query
    tenant, name = call.tenant(query.tenant), call.text("name")
    stored = name_within(tenant, name)
    if stored is None or not REGISTERED_NAME.fullmatch(stored):
        longest = 64 - len(stored_name(tenant, ""))
        raise Failure(
            KINDS["invalid-input"],
            f"{name!r} can be no function's name for tenant {tenant!r}: up to {longest} letters, digits, - and _, which"
            " do not begin like another tenant's (TENANT__)",
        )
    drafted = {
        "function": stored,
        "version": 1,
        "handler": query.handler or ("bootstrap" if query.runtime.startswith("provided") else ""),
        "runtime": query.runtime,
        "variables": _variables(query.variables),
        "events_schema": _schema("events_schema", query.events_schema),
        "results_schema": _schema("results_schema", query.results_schema),
        "timeout_seconds": query.timeout,
        "memory_mb": query.memory_mb,
        "cpus": query.cpus,
        "isolation": query.isolation,
        "description": query.description,
        "result_format": query.result_format,
        "runtime_client": query.runtime_client,
        "concurrency": query.concurrency,
        "blob": "",
        "content": "",
        "files": 0,
        "unpacked_bytes": 0,
        "package_bytes": 0,
    }
    try:
        draft = FunctionVersion.model_validate(drafted)
    except ValidationError as error:
        raise Failure(KINDS["invalid-input"], told(error)) from None
    data = await call.data()

    def deploy() -> FunctionVersion:
        try:
            return call.gateway.deploy(draft, pack(unpack(data)))
        except InvalidInput as error:
            if stored == name:
                raise
            raise type(error)(str(error).replace(stored, name)) from None

    return _one(call, await call.run(deploy))


def _variables(text: str) -> dict[str, str]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Failure(KINDS["invalid-input"], f"variables: no JSON: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise Failure(KINDS["invalid-input"], "variables: a JSON object of texts is wanted")
    return found


def _schema(name: str, text: str) -> Any:
    if not text:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Failure(KINDS["invalid-input"], f"{name}: no JSON: {error}") from None


async def _remove(call: Call) -> Response:
    return await _removed(call, None)


async def _remove_version(call: Call) -> Response:
    return await _removed(call, call.number("version"))


async def _removed(call: Call, number: int | None) -> Response:
    tenant, name = call.tenant(call.query.tenant), call.text("name")

    def remove() -> list[int]:
        try:
            return call.gateway.remove_function(functions.stored(tenant, name), number)
        except FunctionNotFound:
            raise functions.missing(name if number is None else f"{name}:{number}") from None

    return call.answer(models.Removed(versions=await call.run(remove)))


HANDLERS: Mapping[str, Handler] = {
    "list_functions": _list,
    "list_versions": _versions,
    "version_of_function": _version,
    "deploy_version": _deploy,
    "remove_function": _remove,
    "remove_version": _remove_version,
}
