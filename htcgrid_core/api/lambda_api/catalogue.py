"""Functions and aliases as AWS Lambda shows and changes them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.responses import Response

from htcgrid_core.api import functions
from htcgrid_core.api.auth.principal import Scope
from htcgrid_core.api.call import told
from htcgrid_core.api.lambda_api.call import LambdaCall
from htcgrid_core.api.lambda_api.errors import LambdaError
from htcgrid_core.api.lambda_api.names import LATEST, arn, name_and_qualifier
from htcgrid_core.codecs.packages import pack, unpack
from htcgrid_core.domain.alias import ALIAS_NAME, Alias
from htcgrid_core.domain.errors import FunctionNotFound
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.domain.tenant_names import owner_of

PAGE = 50


def _json(found: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(found), status, media_type="application/json")


def _configuration(call: LambdaCall, version: FunctionVersion, shown: str = LATEST) -> dict[str, Any]:
    name = owner_of(version.function)[1]
    found: dict[str, Any] = {
        "FunctionName": name,
        "FunctionArn": arn(call.region, name, "" if shown == LATEST else shown),
        "Runtime": version.runtime,
        "Handler": version.handler,
        "CodeSize": version.package_bytes,
        "Description": version.description,
        "LastModified": f"{datetime.fromtimestamp(version.deployed_at, UTC):%Y-%m-%dT%H:%M:%S.000+0000}",
        "CodeSha256": base64.b64encode(bytes.fromhex(version.content)).decode(),
        "Version": shown,
        "RevisionId": str(version.version),
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
    }
    if version.timeout_seconds is not None:
        found["Timeout"] = max(1, round(version.timeout_seconds))
    if version.memory_mb is not None:
        found["MemorySize"] = version.memory_mb
    return found


def _name(call: LambdaCall) -> tuple[str, str]:
    return name_and_qualifier(call.request.path_params["name"], call.request.query_params.get("Qualifier", ""))


def _found(call: LambdaCall, name: str, qualifier: str) -> FunctionVersion:
    said = f"{name}:{qualifier}" if qualifier else name
    return functions.find_named(call.gateway, call.principal, call.tenant, said, "s-nobodys")


async def list_functions(call: LambdaCall) -> Response:
    """ListFunctions."""
    call.need(Scope.READ)
    marker, query = call.request.query_params.get("Marker", ""), call.request.query_params
    limit = int(query["MaxItems"]) if query.get("MaxItems", "").isdecimal() else PAGE
    latest = await call.run(functions.latest, call.gateway, call.tenant)
    rest = [one for one in latest if owner_of(one.function)[1] > marker]
    page = rest[: max(1, limit)]
    shown: dict[str, Any] = {"Functions": [_configuration(call, one) for one in page]}
    if len(rest) > len(page):
        shown["NextMarker"] = owner_of(page[-1].function)[1]
    return _json(shown)


async def get_function(call: LambdaCall) -> Response:
    """GetFunction; the code cannot be fetched."""
    configuration = await _configured(call)
    return _json({"Configuration": configuration, "Code": {"RepositoryType": "S3"}, "Tags": {}})


async def get_configuration(call: LambdaCall) -> Response:
    """GetFunctionConfiguration."""
    return _json(await _configured(call))


async def _configured(call: LambdaCall) -> dict[str, Any]:
    call.need(Scope.READ)
    name, qualifier = _name(call)
    version = await call.run(_found, call, name, qualifier)
    return _configuration(call, version, str(version.version) if qualifier else LATEST)


async def list_versions(call: LambdaCall) -> Response:
    """ListVersionsByFunction."""
    call.need(Scope.READ)
    name, _ = _name(call)

    def versions() -> list[FunctionVersion]:
        _found(call, name, "")
        return call.gateway.functions(functions.stored(call.tenant, name))

    found = await call.run(versions)
    shown = [_configuration(call, found[-1]), *(_configuration(call, one, str(one.version)) for one in found)]
    return _json({"Versions": shown})


async def create_function(call: LambdaCall) -> Response:
    """CreateFunction, from a zip archive in the request."""
    call.need(Scope.CODE)
    asked = call.document
    name, _ = name_and_qualifier(str(asked.get("FunctionName", "")))
    data = _zip(asked.get("Code"))

    def create() -> FunctionVersion:
        try:
            _found(call, name, "")
        except FunctionNotFound:
            variables = (asked.get("Environment") or {}).get("Variables") or {}
            drafted = {
                "handler": asked.get("Handler") or "bootstrap",
                "runtime": asked.get("Runtime", ""),
                "variables": variables,
                "timeout_seconds": asked.get("Timeout"),
                "memory_mb": asked.get("MemorySize"),
                "description": asked.get("Description") or "",
            }
            return _deploy(call, name, drafted, data)
        raise LambdaError("ResourceConflictException", f"Function already exist: {name}")

    return _json(_configuration(call, await call.run(create), LATEST), 201)


async def update_code(call: LambdaCall) -> Response:
    """UpdateFunctionCode, from a zip archive in the request; the rest stays as it is."""
    call.need(Scope.CODE)
    asked = call.document
    name, _ = _name(call)
    data = _zip(asked)

    def update() -> FunctionVersion:
        latest = _found(call, name, "")
        kept = {
            "handler", "runtime", "variables", "timeout_seconds", "memory_mb", "cpus", "isolation",
            "description", "result_format", "runtime_client",
        }  # fmt: skip
        drafted = latest.model_dump(include=kept)
        return latest if asked.get("DryRun") else _deploy(call, name, drafted, data)

    version = await call.run(update)
    return _json(_configuration(call, version, str(version.version) if asked.get("Publish") else LATEST))


async def publish_version(call: LambdaCall) -> Response:
    """PublishVersion: every deployment is a version already."""
    call.need(Scope.CODE)
    name, _ = _name(call)
    version = await call.run(_found, call, name, "")
    return _json(_configuration(call, version, str(version.version)), 201)


def _zip(code: Any) -> bytes:
    text = code.get("ZipFile") if isinstance(code, Mapping) else None
    if not isinstance(text, str):
        raise LambdaError("InvalidParameterValueException", "send the code as ZipFile: no bucket, and no image")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise LambdaError("InvalidParameterValueException", "ZipFile is no base64") from None


def _deploy(call: LambdaCall, name: str, drafted: Mapping[str, Any], data: bytes) -> FunctionVersion:
    empty = {"version": 1, "blob": "", "content": "", "files": 0, "unpacked_bytes": 0, "package_bytes": 0}
    try:
        draft = FunctionVersion.model_validate({**empty, **drafted, "function": functions.stored(call.tenant, name)})
    except ValidationError as error:
        raise LambdaError("InvalidParameterValueException", told(error)) from None
    return call.gateway.deploy(draft, pack(unpack(data)))


# Aliases


def _alias(call: LambdaCall, name: str, alias: Alias) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "AliasArn": arn(call.region, name, alias.name),
        "Name": alias.name,
        "FunctionVersion": str(alias.version),
        "Description": alias.description,
        "RevisionId": str(alias.version),
    }
    if alias.other_version is not None:
        shown["RoutingConfig"] = {"AdditionalVersionWeights": {str(alias.other_version): alias.other_weight}}
    return shown


def _known_alias(call: LambdaCall, name: str) -> Alias:
    alias = call.request.path_params["alias"]
    stored = functions.stored(call.tenant, name)
    found = call.service.grid.alias(stored, alias) if ALIAS_NAME.fullmatch(alias) else None
    if found is None:
        raise LambdaError("ResourceNotFoundException", f"Alias not found: {name}:{alias}")
    return found


async def list_aliases(call: LambdaCall) -> Response:
    """ListAliases."""
    call.need(Scope.READ)
    name, _ = _name(call)
    found = await call.run(call.service.grid.aliases, functions.stored(call.tenant, name))
    return _json({"Aliases": [_alias(call, name, one) for one in found]})


async def get_alias(call: LambdaCall) -> Response:
    """GetAlias."""
    call.need(Scope.READ)
    name, _ = _name(call)
    return _json(_alias(call, name, await call.run(_known_alias, call, name)))


async def create_alias(call: LambdaCall) -> Response:
    """CreateAlias."""
    call.need(Scope.CODE)
    name, _ = _name(call)
    asked = call.document
    alias = _drafted(asked, str(asked.get("Name", "")))

    def create() -> Alias:
        stored = functions.stored(call.tenant, name)
        if call.service.grid.alias(stored, alias.name) is not None:
            raise LambdaError("ResourceConflictException", f"Alias already exists: {name}:{alias.name}")
        return _put(call, name, alias)

    return _json(_alias(call, name, await call.run(create)), 201)


async def update_alias(call: LambdaCall) -> Response:
    """UpdateAlias."""
    call.need(Scope.CODE)
    name, _ = _name(call)

    def update() -> Alias:
        return _put(call, name, _drafted(call.document, call.request.path_params["alias"], _known_alias(call, name)))

    return _json(_alias(call, name, await call.run(update)))


async def delete_alias(call: LambdaCall) -> Response:
    """DeleteAlias; one that is not there is gone too."""
    call.need(Scope.CODE)
    name, _ = _name(call)

    def delete() -> None:
        try:
            found = _known_alias(call, name)
        except LambdaError:
            return
        removed = found.model_copy(update={"removed": True})
        call.service.grid.put_alias(functions.stored(call.tenant, name), removed, call.principal.name, call.address)

    await call.run(delete)
    return Response(status_code=204)


def _put(call: LambdaCall, name: str, alias: Alias) -> Alias:
    try:
        return call.service.grid.put_alias(
            functions.stored(call.tenant, name), alias, call.principal.name, call.address
        )
    except FunctionNotFound:
        raise functions.missing(f"{name}:{alias.version}") from None


def _drafted(asked: Mapping[str, Any], name: str, before: Alias | None = None) -> Alias:
    kept = before.model_dump() if before is not None else {}
    routing = asked.get("RoutingConfig")
    if routing is not None:
        weights = (routing.get("AdditionalVersionWeights") if isinstance(routing, Mapping) else None) or {}
        kept |= {"other_version": None, "other_weight": 0.0}
        for version, weight in weights.items():
            kept |= {"other_version": _number(version), "other_weight": weight}
    if "FunctionVersion" in asked:
        kept["version"] = _number(asked["FunctionVersion"])
    if "Description" in asked:
        kept["description"] = asked["Description"]
    try:
        return Alias.model_validate({**kept, "name": name})
    except ValidationError as error:
        raise LambdaError("InvalidParameterValueException", told(error)) from None


def _number(version: Any) -> int:
    text = str(version)
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise LambdaError("InvalidParameterValueException", f"{text[:100]!r} is no version that an alias may have")
    return int(text)
