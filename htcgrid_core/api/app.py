"""The application: from the table of operations to routes, and from a request to its answer, whatever happens."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, get_origin

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from htcgrid_core.api.answers import problem_response
from htcgrid_core.api.auth.principal import Principal
from htcgrid_core.api.call import Call, Handler, told
from htcgrid_core.api.failure import Failure
from htcgrid_core.api.handlers import HANDLERS
from htcgrid_core.api.operations import OPERATIONS, Operation
from htcgrid_core.api.pages import Pages
from htcgrid_core.api.service import Service
from htcgrid_core.codecs import problems
from htcgrid_core.codecs.problems import Problem, problem_of
from htcgrid_core.domain.errors import GridError

ZIPPED_BYTES = 1024  # of an answer, for those who accept gzip
NOBODY = Principal("", frozenset(), frozenset())
_log = logging.getLogger(__name__)


def application(service: Service, more: Sequence[Route] = ()) -> Starlette:
    """The ASGI application of a service, which runs while the application does.

    Args:
        more: routes beside those of the table.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with service.running():
            yield

    async def not_found(request: Request, _: Exception) -> Response:
        try:
            service.guard.check(request)
        except Failure as failure:
            return problem_response(failure.problem, failure.headers)
        return problem_response(Problem(problems.NOT_FOUND, "there is nothing at this path: see /openapi.json"))

    zipped = Middleware(GZipMiddleware, minimum_size=ZIPPED_BYTES, compresslevel=4)  # but for events, as they come
    pages = [Middleware(Pages, guard=service.guard)] if service.guard.has_origins else []
    found = Starlette(
        middleware=[*pages, zipped],
        routes=[*_routes(service), *more],
        lifespan=lifespan,
        exception_handlers={404: not_found},
    )
    found.router.redirect_slashes = False  # to whatever name was asked for
    return found


def _routes(service: Service) -> list[Route]:
    by_path: defaultdict[str, dict[str, tuple[Operation, Handler]]] = defaultdict(dict)
    for operation in OPERATIONS:
        by_path[operation.path][operation.method] = (operation, HANDLERS[operation.id])
    return [Route(path, _Resource(service, methods)) for path, methods in by_path.items()]


class _Resource:
    """All operations of one path, so that what says 405 knows them all."""

    def __init__(self, service: Service, methods: Mapping[str, tuple[Operation, Handler]]) -> None:
        self._service = service
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        response = await self._answer(request)
        response.headers.setdefault("Cache-Control", "no-store")  # it is for who asks, whatever is on the way
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._answered(request)
        except Failure as failure:
            return problem_response(failure.problem, failure.headers)
        except GridError as error:
            return problem_response(problem_of(error))
        except HTTPException:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, its client gets an answer, and the log the rest
            _log.exception("%s %s", request.method, request.url.path)
            return problem_response(Problem(problems.INTERNAL, "the server has a fault, which its log tells"))
        finally:
            self._service.bodies.release(request)

    async def _answered(self, request: Request) -> Response:
        service = self._service
        service.guard.check(request)
        found = self._methods.get(request.method)
        if found is None:
            allow = ", ".join(sorted(self._methods))
            raise Failure(problems.METHOD, f"here one can only {allow}", headers={"Allow": allow})
        operation, handler = found
        principal = NOBODY
        if operation.scope is not None:
            principal = await service.authenticator.principal(request)
            service.rates.take(principal.name)
            if not principal.may(operation.scope):
                what = f"{operation.id} needs scope {operation.scope}"
                await service.note_refusal(principal.name, request, what)
                raise Failure(problems.FORBIDDEN, f"{what}, which {principal.name} lacks")
        call = Call(service, operation, principal, request, _query(operation, request))
        return await handler(call)


def _query(operation: Operation, request: Request) -> Any:
    """The parameters of a request.

    Raises:
        Failure: one is unknown, no good, or there twice.
    """
    given = request.query_params
    model = operation.query
    if model is None:
        if given:
            raise Failure(problems.INVALID, f"{operation.id} takes no parameters")
        return None
    values: dict[str, Any] = {}
    for name in dict.fromkeys(given.keys()):
        all_of_it = given.getlist(name)
        field = model.model_fields.get(name)
        if field is not None and get_origin(field.annotation) is list:
            values[name] = all_of_it
        elif len(all_of_it) > 1:
            raise Failure(problems.INVALID, f"{name} is there {len(all_of_it)} times")
        else:
            values[name] = all_of_it[0]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise Failure(problems.INVALID, told(error)) from None
