"""Call: one request, with all that its handler needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from htcgrid_core.api.auth.principal import Principal, Scope
from htcgrid_core.api.failure import Failure
from htcgrid_core.api.operations import JSON, Operation
from htcgrid_core.codecs import problems
from htcgrid_core.codecs.problems import KINDS
from htcgrid_core.codecs.wire import RAW
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.session import SESSION_ID, tenant_of
from htcgrid_core.gateway.protocol import Gateway

if TYPE_CHECKING:
    from htcgrid_core.api.service import Service

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


def told(error: ValidationError) -> str:
    """What is wrong with an input, without the input."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the body'}: {e['msg']}" for e in found[:20])


@dataclass(slots=False)
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
        return self.service.grid.acting(self.principal.name)

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
        return self.operation.raw and self.request.headers.get("accept", "").startswith(RAW)

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
            raise Failure(KINDS["invalid-input"], f"{name} is a number from 0 on")
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
                raise Failure(problems.FORBIDDEN, f"{self.principal.name} does not act for tenant {said!r}")
            return said
        own = self.principal.own_tenant
        if own is None:
            listed = ", ".join(sorted(self.principal.tenants))
            raise Failure(KINDS["invalid-input"], f"{self.principal.name} acts for {listed}: say for which tenant")
        return own

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
        limit = self.operation.body_bytes
        length = self.request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise _too_large(limit)
        body = bytearray()
        try:
            async with asyncio.timeout(self.service.body_seconds):
                async for chunk in self.request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise _too_large(limit)
        except TimeoutError:
            raise Failure(problems.MALFORMED, "the body did not come in time") from None
        except ClientDisconnect:
            raise Failure(problems.MALFORMED, "the body did not come whole") from None
        return bytes(body)

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
            raise Failure(KINDS["invalid-input"], told(error)) from None

    # What is answered

    def answer(self, model: BaseModel, headers: Mapping[str, str] | None = None) -> Response:
        """The operation's answer."""
        return Response(model.model_dump_json(), self.operation.status, headers, JSON)

    def raw(self, found: Any, headers: Mapping[str, str] | None = None) -> Response:
        """The answer for this project's own client."""
        return Response(orjson.dumps(found), self.operation.status, headers, RAW)

    async def stream(self, media: str, pieces: Iterator[bytes], headers: Mapping[str, str] | None = None) -> Response:
        """An answer in pieces, each made when the one before is sent; its begin is made now, so that it may fail."""
        return await self.service.streams.response(media, pieces, headers)


def _too_large(limit: int) -> Failure:
    return Failure(problems.TOO_LARGE, f"a body here has at most {limit:,} bytes")


Handler = Callable[[Call], Awaitable[Response]]
