"""Aliases of a tenant's functions."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError
from starlette.responses import Response

from htcgrid_core.api import functions, models
from htcgrid_core.api.call import Call, Handler, told
from htcgrid_core.api.failure import Failure
from htcgrid_core.codecs.problems import KINDS
from htcgrid_core.domain.alias import ALIAS_NAME, Alias
from htcgrid_core.domain.errors import FunctionNotFound


def _view(alias: Alias) -> models.Alias:
    weights = {} if alias.other_version is None else {str(alias.other_version): alias.other_weight}
    return models.Alias(name=alias.name, version=alias.version, weights=weights, description=alias.description)


def _stored(call: Call) -> str:
    return functions.stored(call.tenant(call.query.tenant), call.text("name"))


async def _list(call: Call) -> Response:
    stored = _stored(call)

    def found() -> list[Alias]:
        try:
            call.gateway.function(stored)
        except FunctionNotFound:
            raise functions.missing(call.text("name")) from None
        return call.service.grid.aliases(stored)

    return call.answer(models.Aliases(aliases=[_view(alias) for alias in await call.run(found)]))


def _found(call: Call, stored: str) -> Alias:
    name = call.text("alias")
    alias = call.service.grid.alias(stored, name) if ALIAS_NAME.fullmatch(name) else None
    if alias is None:
        raise functions.missing(f"{call.text('name')}:{call.text('alias')}")
    return alias


async def _get(call: Call) -> Response:
    return call.answer(_view(await call.run(_found, call, _stored(call))))


async def _put(call: Call) -> Response:
    stored, body = _stored(call), await call.model(models.NewAlias)
    other = next(iter(body.weights.items()), None)
    drafted = {
        "name": call.text("alias"),
        "version": body.version,
        "other_version": None if other is None else int(other[0]),
        "other_weight": 0.0 if other is None else other[1],
        "description": body.description,
    }
    try:
        alias = Alias.model_validate(drafted)
    except ValidationError as error:
        raise Failure(KINDS["invalid-input"], told(error)) from None

    def put() -> Alias:
        try:
            return call.service.grid.put_alias(stored, alias, call.principal.name, call.address)
        except FunctionNotFound:
            versions = ", ".join(map(str, filter(None, (alias.version, alias.other_version))))
            raise functions.missing(f"{call.text('name')}:{versions}") from None

    return call.answer(_view(await call.run(put)))


async def _remove(call: Call) -> Response:
    stored = _stored(call)

    def remove() -> None:
        alias = _found(call, stored)
        removed = alias.model_copy(update={"removed": True})
        call.service.grid.put_alias(stored, removed, call.principal.name, call.address)

    await call.run(remove)
    return Response(status_code=204)


HANDLERS: Mapping[str, Handler] = {
    "list_aliases": _list,
    "alias": _get,
    "put_alias": _put,
    "remove_alias": _remove,
}
