"""Routes of the console: its page at every address below /console/, its files, signing in and out."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from htcgrid_core.api.answers import problem_response
from htcgrid_core.api.bodies import NotWhole, TooLarge, TooMany
from htcgrid_core.api.console import STATIC
from htcgrid_core.api.console.browser import check_own_page, cookie_name, halves_of
from htcgrid_core.api.console.sign_ins import Halves, SignIns
from htcgrid_core.api.failure import Failure
from htcgrid_core.api.operations import JSON
from htcgrid_core.api.service import Service
from htcgrid_core.codecs import problems
from htcgrid_core.codecs.problems import problem_of
from htcgrid_core.domain.errors import GridError

BODY_BYTES = 4096
ROOT = r"^/([A-Za-z0-9._~-]+/)*$"  # what a cookie's path may be
STATIC_PLACE = b"STATIC/"  # in the page, for where its files are
STRANGER = "a browser that signs in"  # who holds the room of its body
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
MEDIA: Mapping[str, str] = {
    "css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml",
}  # fmt: skip
Answer = Callable[[Request], Awaitable[Response]]


class SignIn(BaseModel):
    """What a browser signs in with: the code of the address that was printed, or a key.

    Attributes:
        root: where its page finds this server's paths, behind a proxy that has put something before them.
    """

    model_config = ConfigDict(extra="forbid")

    code: str = Field(default="", max_length=128)
    key: str = Field(default="", max_length=256, repr=False)
    root: str = Field(default="/", max_length=256, pattern=ROOT)


def console_routes(service: Service, sign_ins: SignIns) -> list[Route]:
    """The console of a server. Its page and its files tell nothing of the grid; what does, is the API."""
    files = {file.name: _file(file.name, file.read_bytes()) for file in sorted(STATIC.iterdir())}
    index = (STATIC / "index.html").read_bytes()

    async def page(request: Request) -> Response:
        # Relative to the view's address, whatever a proxy has put before it; a <base> its policy does not allow.
        depth = request.scope["raw_path"].count(b"/")  # as the browser sees it, to whom %2F is no folder
        up = "console/" if depth < 2 else "../" * (depth - 2)
        return _unless_known(request, *_file("index.html", index.replace(STATIC_PLACE, f"{up}static/".encode())))

    async def static(request: Request) -> Response:
        found = files.get(request.path_params["name"])
        if found is None:
            raise Failure(problems.NOT_FOUND, "the console has no such file")
        return _unless_known(request, *found)

    async def sign_in(request: Request) -> Response:
        check_own_page(request, must_say=True)
        given = await _read(service, request)
        secret = given.key or given.code
        halves = (sign_ins.by_key if given.key else sign_ins.by_code)(secret, given.root)
        who = sign_ins.key_of(halves) if halves is not None else None
        if halves is None or who is None:
            what = "this key is no good" if given.key else "this address was used, or is too old"
            raise Failure(problems.UNAUTHORIZED, f"{what}: sign in with a key, or start the server again")
        await service.note(who.name, request, "sign-in", "by a key" if given.key else "by an address")
        return _signed_in(request, halves, given.root)

    async def sign_out(request: Request) -> Response:
        check_own_page(request, must_say=True)
        root = "/"
        for halves in halves_of(request):
            if (who := sign_ins.key_of(halves)) is not None:
                root = sign_ins.end(halves)
                await service.note(who.name, request, "sign-out")
        response = Response(status_code=204)
        response.delete_cookie(cookie_name(request), path=root, httponly=True, samesite="strict")
        return response

    answers: list[tuple[str, str, Answer]] = [
        ("/console/sign-in", "POST", sign_in),
        ("/console/sign-out", "POST", sign_out),
        ("/console/static/{name}", "GET", static),
        ("/console", "GET", page),
        ("/console/{view:path}", "GET", page),
    ]
    return [Route(path, _guarded(service, answer), methods=[method]) for path, method, answer in answers]


def _guarded(service: Service, answer: Answer) -> Answer:
    async def guarded(request: Request) -> Response:
        try:
            service.guard.check(request)
            return await answer(request)
        except Failure as failure:
            return problem_response(failure.problem, failure.headers)
        except GridError as error:
            return problem_response(problem_of(error))
        finally:
            service.bodies.release(request)

    return guarded


def _file(name: str, data: bytes) -> tuple[bytes, str, str]:
    return data, MEDIA[name.rpartition(".")[2]], f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def _unless_known(request: Request, data: bytes, media: str, tag: str) -> Response:
    headers = {**HEADERS, "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=media)


async def _read(service: Service, request: Request) -> SignIn:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Failure(problems.MEDIA, f"the body's Content-Type is {JSON}")
    try:
        return SignIn.model_validate_json(
            await service.bodies.read(request, BODY_BYTES, service.body_seconds, STRANGER)
        )
    except (ValidationError, NotWhole):
        raise Failure(problems.MALFORMED, "the body is an object with a code, or a key") from None
    except TooLarge:
        raise Failure(problems.TOO_LARGE, f"a body here has at most {BODY_BYTES:,} bytes") from None
    except TooMany:
        raise Failure(problems.STOPPING, "too many sign in at once") from None


def _signed_in(request: Request, halves: Halves, root: str) -> Response:
    response = Response(orjson.dumps({"page": halves.page}), media_type=JSON, headers={"Cache-Control": "no-store"})
    response.set_cookie(
        cookie_name(request),
        halves.cookie,
        path=root,
        secure=request.headers["origin"].startswith("https:"),  # as its page came, whatever a proxy makes of it
        httponly=True,
        samesite="strict",
    )
    return response
