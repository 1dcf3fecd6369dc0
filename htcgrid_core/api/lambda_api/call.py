"""One request of an AWS SDK: who has signed it, for which tenant, and its body."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response

from htcgrid_core.api.auth.keys import Keys
from htcgrid_core.api.auth.principal import Principal, Scope
from htcgrid_core.api.auth.signatures import Signed, Unsigned, key_of
from htcgrid_core.api.bodies import NotWhole, TooLarge, TooMany
from htcgrid_core.api.lambda_api.errors import LambdaError
from htcgrid_core.api.service import Service
from htcgrid_core.api.whence import address_of
from htcgrid_core.gateway.protocol import Gateway

T = TypeVar("T")

INVOCATION = "amz-sdk-invocation-id"


@dataclass(frozen=True)
class LambdaCall:
    """One request, signed by its principal.

    Attributes:
        tenant: whose functions these are.
        region: that its client has signed for; it has no meaning here.
        request_id: by which its client knows it.
    """

    service: Service
    principal: Principal
    request: Request
    body: bytes
    tenant: str
    region: str
    request_id: str

    @property
    def gateway(self) -> Gateway:
        """The grid, for this principal."""
        return self.service.grid.acting(self.principal.name, self.address)

    @property
    def address(self) -> str:
        """Whence it came; empty if that is not known."""
        return address_of(self.request)

    async def run(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """What a function returns that may block."""
        return await self.service.run(partial(function, *arguments, **options))

    def need(self, scope: Scope) -> None:
        """Refuse who lacks a scope.

        Raises:
            LambdaError: who asks lacks it.
        """
        if not self.principal.may(scope):
            raise LambdaError("AccessDeniedException", f"{self.principal.name} lacks scope {scope}")

    @property
    def document(self) -> Mapping[str, Any]:
        """The body, as the JSON object that it must be.

        Raises:
            LambdaError: it is none.
        """
        try:
            found = orjson.loads(self.body or b"{}")
        except orjson.JSONDecodeError as error:
            raise not_json(error) from None
        if not isinstance(found, dict):
            raise LambdaError("InvalidRequestContentException", "the request body is no JSON object")
        return found


LambdaHandler = Callable[[LambdaCall], Awaitable[Response]]


async def signed_call(service: Service, keys: Keys, request: Request, limit: int) -> LambdaCall:
    """A request whose signature was verified; its body is read only once its signer is known.

    Raises:
        LambdaError: it is not signed, or too large.
    """
    raw_path = request.scope.get("raw_path") or request.url.path.encode()
    query = request.scope["query_string"].decode("latin-1")
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.headers.raw]
    try:
        signed = Signed(request.method, raw_path.decode("latin-1"), query, headers)
        key = key_of(keys, signed)
        # Of a share of its own: until its signature is verified, it may be somebody's who knows the key's id alone.
        body = await service.bodies.read(request, limit, service.body_seconds, f"signed with {key.id}")
        signed.verify(key, body)
    except Unsigned as error:
        raise LambdaError(error.code, str(error), 403) from None
    except TooLarge:
        raise _too_large(limit) from None
    except NotWhole:
        raise LambdaError("InvalidRequestContentException", "the body did not come whole, and in time") from None
    except TooMany:
        raise LambdaError("TooManyRequestsException", "too much is being sent to this server at once") from None
    principal = key.principal
    service.rates.take(principal.name)
    tenant = principal.own_tenant
    if tenant is None:
        raise LambdaError("AccessDeniedException", "this key is for several tenants: use one that is for one")
    request_id = _request_id(request, principal, tenant)
    return LambdaCall(service, principal, request, body, tenant, signed.region, request_id)


def _request_id(request: Request, principal: Principal, tenant: str) -> str:
    """The same for all tries of one invocation, which SDKs name; what another principal calls the same is another."""
    said = request.headers.get(INVOCATION)
    if not said:
        return str(uuid.uuid4())
    path = f"{request.method} {request.url.path}?{request.url.query}"
    digest = hashlib.sha256(orjson.dumps([principal.name, tenant, path, said])).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def _too_large(limit: int) -> LambdaError:
    text = f"Request must be smaller than {limit} bytes for the Invoke operation"
    return LambdaError("RequestTooLargeException", text)


def not_json(error: orjson.JSONDecodeError) -> LambdaError:
    """What is said of a body that is no JSON."""
    return LambdaError("InvalidRequestContentException", f"Could not parse request body into json: {error}")
