"""Routes of the Lambda API, and how each request of it ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from htcgrid_core.api.auth.keys import Keys
from htcgrid_core.api.failure import Failure
from htcgrid_core.api.lambda_api import catalogue
from htcgrid_core.api.lambda_api.call import LambdaHandler, signed_call
from htcgrid_core.api.lambda_api.errors import LambdaError, of_failure, of_grid_error
from htcgrid_core.api.lambda_api.invoke import SYNCHRONOUS_BYTES, invoke
from htcgrid_core.api.lambda_api.placing import Placing
from htcgrid_core.api.service import Service
from htcgrid_core.domain.errors import GridError

FUNCTIONS = "/2015-03-31/functions"
FUNCTION = f"{FUNCTIONS}/{{name}}"
CODE_BYTES = 70 << 20  # of a request with a zip archive, in base64

ROUTES: Mapping[str, Mapping[str, LambdaHandler]] = {
    FUNCTIONS: {"GET": catalogue.list_functions, "POST": catalogue.create_function},
    f"{FUNCTIONS}/": {"GET": catalogue.list_functions, "POST": catalogue.create_function},
    FUNCTION: {"GET": catalogue.get_function},
    f"{FUNCTION}/configuration": {"GET": catalogue.get_configuration},
    f"{FUNCTION}/code": {"PUT": catalogue.update_code},
    f"{FUNCTION}/versions": {"GET": catalogue.list_versions, "POST": catalogue.publish_version},
    f"{FUNCTION}/aliases": {"GET": catalogue.list_aliases, "POST": catalogue.create_alias},
    f"{FUNCTION}/aliases/{{alias}}": {
        "GET": catalogue.get_alias, "PUT": catalogue.update_alias, "DELETE": catalogue.delete_alias,
    },
}  # fmt: skip
_WITH_CODE = (catalogue.create_function, catalogue.update_code)
_log = logging.getLogger(__name__)


def lambda_routes(service: Service, keys: Keys) -> list[Route]:
    """The Lambda API, for requests that are signed with one of these keys."""
    invoking: Mapping[str, LambdaHandler] = {"POST": partial(invoke, Placing(service))}
    routes = {**ROUTES, f"{FUNCTION}/invocations": invoking}
    return [Route(path, _LambdaResource(service, keys, methods)) for path, methods in routes.items()]


class _LambdaResource:
    def __init__(self, service: Service, keys: Keys, methods: Mapping[str, LambdaHandler]) -> None:
        self._service = service
        self._keys = keys
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._answered(request)
        except LambdaError as error:
            return error.response()
        except GridError as error:
            return of_grid_error(error).response()
        except Failure as failure:
            return of_failure(failure).response()
        except Exception:  # noqa: BLE001 - whatever it is, its client gets an answer, and the log the rest
            _log.exception("%s %s", request.method, request.url.path)
            return LambdaError("ServiceException", "the server has a fault, which its log tells", 500).response()
        finally:
            self._service.bodies.release(request)

    async def _answered(self, request: Request) -> Response:
        self._service.guard.check(request)
        handler = self._methods.get(request.method)
        if handler is None:
            raise LambdaError("UnknownOperationException", f"there is no {request.method} here", 404)
        limit = CODE_BYTES if handler in _WITH_CODE else SYNCHRONOUS_BYTES
        call = await signed_call(self._service, self._keys, request, limit)
        return await handler(call)
