"""Pages of other origins that may ask: what their browsers must be told (CORS), and nobody else."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from htcgrid_core.api.answers import problem_response
from htcgrid_core.api.failure import Failure
from htcgrid_core.api.guard import Guard

METHODS = "GET, POST, PUT, DELETE"
ASKED = "accept, authorization, content-type, idempotency-key, last-event-id"  # headers that a page may send
TOLD = "location, retry-after, www-authenticate"  # headers that it may read beside the usual ones
KEPT_SECONDS = 600  # in which a browser does not ask again whether it may


class Pages:
    """ASGI middleware. Credentials are those that a page gives itself: cookies and the like have no meaning here."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer whether a page may ask, and let it read what it is answered."""
        headers = Headers(scope=scope) if scope["type"] == "http" else None
        if headers is None:
            await self._app(scope, receive, send)
            return
        origin = headers.get("origin", "")
        is_allowed = self._guard.allows(origin)

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = MutableHeaders(scope=message)
                told.add_vary_header("Origin")
                if is_allowed:
                    told["Access-Control-Allow-Origin"] = origin
                    told["Access-Control-Expose-Headers"] = TOLD
            await send(message)

        if is_allowed and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self._may(Request(scope))(scope, receive, telling)
        else:
            await self._app(scope, receive, telling)

    def _may(self, request: Request) -> Response:
        try:
            self._guard.check(request)
        except Failure as failure:
            return problem_response(failure.problem, failure.headers)
        told = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": ASKED,
            "Access-Control-Max-Age": str(KEPT_SECONDS),
        }
        return Response(status_code=204, headers=told)
