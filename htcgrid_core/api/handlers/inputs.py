"""What events refer to, and callables: stored once, and each its tenant's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import orjson
from starlette.responses import Response

from htcgrid_core.api import models
from htcgrid_core.api.auth.principal import Scope
from htcgrid_core.api.call import Call, Handler
from htcgrid_core.api.failure import Failure
from htcgrid_core.api.operations import BYTES, JSON
from htcgrid_core.codecs import problems
from htcgrid_core.codecs.event_parts import exactly, has_long_number
from htcgrid_core.codecs.values import encode_json

_CODECS: Mapping[str, Literal["json", "bytes"]] = {JSON: "json", BYTES: "bytes"}


async def _put_shared(call: Call) -> Response:
    tenant, data = call.tenant(call.query.tenant), await call.data()
    codec: Literal["json", "bytes", "pickle"] = _CODECS.get(call.media, "pickle")
    if codec == "pickle":
        call.need(Scope.CODE, "a pickled input")

    def put() -> models.SharedInput:
        is_others = codec == "json" and not call.is_from_own_client
        stored = call.gateway.put(_checked(data) if is_others else data, codec)
        call.service.grid.note_owner(tenant, f"shared/{stored.digest}")
        return models.SharedInput(digest=stored.digest, codec=codec)

    return call.answer(await call.run(put))


def _checked(data: bytes) -> bytes:
    """JSON as tasks read it; what our own client has encoded is that already."""
    try:
        encoded = encode_json(orjson.loads(data))
    except (TypeError, ValueError, RecursionError) as error:
        raise Failure(problems.MALFORMED, f"the body is no JSON: {error}") from None
    return exactly(data.strip(b" \t\r\n")) if has_long_number(data) else encoded


async def _put_callable(call: Call) -> Response:
    tenant, data = call.tenant(call.query.tenant), await call.data()

    def put() -> str:
        blob = call.gateway.put_callable(data)
        call.service.grid.note_owner(tenant, blob)
        return blob

    return call.answer(models.Callable(blob=await call.run(put)))


HANDLERS: Mapping[str, Handler] = {"put_shared": _put_shared, "put_callable": _put_callable}
