"""Destinations: where ends of sessions may be told."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError
from starlette.responses import Response

from htcgrid_core.api import models, views
from htcgrid_core.api.call import Call, Handler, told
from htcgrid_core.api.failure import Failure
from htcgrid_core.codecs import problems
from htcgrid_core.codecs.problems import KINDS
from htcgrid_core.domain.destination import Destination


async def _list(call: Call) -> Response:
    found = await call.run(call.gateway.destinations)
    if call.is_raw:
        return call.raw({"destinations": [one.model_dump(mode="json") for one in found]})
    return call.answer(models.Destinations(destinations=[views.destination(one) for one in found]))


async def _put(call: Call) -> Response:
    body = await call.model(models.NewDestination)
    try:
        destination = Destination.model_validate({"name": call.text("name"), **body.model_dump()})
    except ValidationError as error:
        raise Failure(KINDS["invalid-input"], told(error)) from None
    await call.run(call.gateway.add_destination, destination)
    return call.answer(views.destination(destination))


async def _remove(call: Call) -> Response:
    if not await call.run(call.gateway.remove_destination, call.text("name")):
        raise Failure(problems.NOT_FOUND, f"there is no destination {call.text('name')!r}")
    return Response(status_code=204)


HANDLERS: Mapping[str, Handler] = {
    "list_destinations": _list,
    "put_destination": _put,
    "remove_destination": _remove,
}
