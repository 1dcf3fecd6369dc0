"""Call: one request, with all that its handler needs."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from htcgrid_core.api import views
from htcgrid_core.api.auth.principal import Principal, Scope
from htcgrid_core.api.bodies import NotWhole, TooLarge, TooMany
from htcgrid_core.api.failure import Failure
from htcgrid_core.api.operations import JSON, Operation
from htcgrid_core.api.streams import Pieces
from htcgrid_core.api.whence import address_of
from htcgrid_core.codecs import problems
from htcgrid_core.codecs.problems import KINDS
from htcgrid_core.codecs.wire import MACHINE, RAW, row_of
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.session import SESSION_ID, SessionRecord, tenant_of
from htcgrid_core.gateway.protocol import Gateway

if TYPE_CHECKING:
    from htcgrid_core.api.service import Service

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


def told(error: ValidationError) -> str:
    """What is wrong with an input, without the input."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the body'}: {e['msg']}" for e in found[:20])


@dataclass
class Call:
    """One request.

    Attributes:
        principal: who asks; somebody without scopes where nobody need say.
        query: the operation's parameters, as its model.
    """

    service: Service
    operation: Operation
    principal: Principal
    request: Request
    query: Any

    @cached_property
    def gateway(self) -> Gateway:
        """The grid, for this principal."""
        return self.service.grid.acting(self.principal.name, self.address)

    @property
    def address(self) -> str:
        """Whence it came; empty if that is not known."""
        return address_of(self.request)

    async def run(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """What a function returns that may block, from a thread of a bounded pool."""
        return await self.service.run(partial(function, *arguments, **options))

    def may(self, scope: Scope) -> bool:
        """Whether who asks has a scope besides the operation's."""
        return self.principal.may(scope)

    def need(self, scope: Scope, why: str) -> None:
        """Refuse who lacks a scope.

        Raises:
            Failure: who asks lacks it.
        """
        if not self.principal.may(scope):
            raise Failure(problems.FORBIDDEN, f"{why} needs scope {scope}, which {self.principal.name} lacks")

    @property
    def is_raw(self) -> bool:
        """Whether the answer is for this project's own client."""
        return self.operation.raw and self.is_from_own_client

    @property
    def is_from_own_client(self) -> bool:
        """Whether this project's own client asks."""
        return self.request.headers.get("accept", "").startswith(RAW)

    # What was sent

    def text(self, name: str) -> str:
        """A parameter of the path."""
        return str(self.request.path_params[name])

    def number(self, name: str) -> int:
        """A parameter of the path that is a number.

        Raises:
            Failure: it is none.
        """
        text = self.text(name)
        if not text.isascii() or not text.isdecimal() or len(text) > 18:
            raise Failure(problems.NOT_FOUND, f"there is nothing at this path: {name} is a number from 0 on")
        return int(text)

    @property
    def session_id(self) -> str:
        """The session of the path, if it is of a tenant of who asks.

        Raises:
            SessionNotFound: it is not; which is what is said of one that is missing.
        """
        session_id = self.text("id")
        if not SESSION_ID.fullmatch(session_id) or not self.principal.serves(tenant_of(session_id)):
            raise SessionNotFound(session_id)
        return session_id

    def tenant(self, said: str | None) -> str:
        """Whose something is.

        Raises:
            Failure: who asks does not act for this tenant, or for several and does not say which.
        """
        if said is not None:
            if not self.principal.serves(said):
                raise self.not_for(said)
            return said
        own = self.principal.own_tenant
        if own is None:
            listed = ", ".join(sorted(self.principal.tenants))
            raise Failure(problems.FORBIDDEN, f"{self.principal.name} acts for {listed}: say for which tenant")
        return own

    def not_for(self, tenant: str) -> Failure:
        """What is said to one who names a tenant that it does not act for."""
        return Failure(problems.FORBIDDEN, f"{self.principal.name} does not act for tenant {tenant!r}")

    @property
    def is_same_machine(self) -> bool:
        """Whether who asks has shown that it runs where this server does, and its workers too."""
        said = self.request.headers.get(MACHINE, "")
        same = self.gateway.describe().same_machine and self.principal.may(Scope.CODE)
        return same and hmac.compare_digest(said.encode("latin-1", "replace"), self.service.machine.encode())

    @property
    def media(self) -> str:
        """The media type of the body."""
        return self.request.headers.get("content-type", "").partition(";")[0].strip().lower()

    def check_media(self) -> None:
        """Refuse a body that the operation does not take.

        Raises:
            Failure: its media type is another.
        """
        operation = self.operation
        taken = (*((JSON,) if operation.body is not None else ()), *operation.media)
        if taken and self.media not in taken:
            raise Failure(problems.MEDIA, f"the body's Content-Type is one of: {', '.join(taken)}")

    async def data(self) -> bytes:
        """The body.

        Raises:
            Failure: it is too large, or its media type is not taken.
        """
        self.check_media()
        limit = min(self.operation.body_bytes, self.service.settings.request_bytes)
        try:
            return await self.service.bodies.read(self.request, limit, self.service.body_seconds, self.principal.name)
        except TooLarge:
            raise Failure(problems.TOO_LARGE, f"a body here has at most {limit:,} bytes") from None
        except NotWhole:
            raise Failure(problems.MALFORMED, "the body did not come whole, and in time") from None
        except TooMany:
            raise Failure(KINDS["grid-unavailable"], "too much is being sent to this server at once") from None

    async def model(self, kind: type[M]) -> M:
        """The body as JSON.

        Raises:
            Failure: it is no JSON, or not this.
        """
        data = await self.data()
        try:
            return kind.model_validate_json(data)
        except ValidationError as error:
            if any(e["type"] == "json_invalid" for e in error.errors(include_input=False)):
                raise Failure(problems.MALFORMED, f"the body is no JSON: {told(error)}") from None
            raise Failure(problems.INVALID, told(error)) from None

    # What is answered

    def answer(self, model: BaseModel, status: int | None = None) -> Response:
        """The operation's answer."""
        return Response(model.model_dump_json(), status or self.operation.status, media_type=JSON)

    def raw(self, found: Any, status: int | None = None) -> Response:
        """The answer for this project's own client."""
        return Response(orjson.dumps(found), status or self.operation.status, media_type=RAW)

    def session(self, record: SessionRecord, status: int | None = None) -> Response:
        """A session as the answer, in the form that was asked for."""
        if self.is_raw:
            return self.raw(row_of(record), status)
        return self.answer(views.session(record), status=status)

    async def stream(self, media: str, pieces: Pieces, headers: Mapping[str, str] | None = None) -> Response:
        """An answer in pieces, each made when the one before is sent; its begin is made now, so that it may fail."""
        return await self.service.streams.response(media, pieces, headers)


Handler = Callable[[Call], Awaitable[Response]]
