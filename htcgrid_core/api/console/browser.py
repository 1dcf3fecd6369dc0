"""A browser that is signed in, as one more way to prove who asks."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

from htcgrid_core.api.auth.principal import Principal
from htcgrid_core.api.console.sign_ins import Halves, SignIns
from htcgrid_core.api.failure import Failure
from htcgrid_core.codecs import problems

HEADER = "htcgrid-console"  # of the page's half; a page of another origin cannot send it without being asked about


class BrowserWay:
    """The console's cookie, and its page's half: see ``auth.authenticator.Way``."""

    def __init__(self, sign_ins: SignIns) -> None:
        self._sign_ins = sign_ins

    async def principal(self, request: Request) -> Principal | None:
        """Whose browser this is; None for other clients, and browsers that nobody has signed in."""
        halves = halves_of(request)
        if not halves or "authorization" in request.headers:
            return None
        check_own_page(request, must_say=request.method not in ("GET", "HEAD"))
        keys = map(self._sign_ins.key_of, halves)
        return next((key.principal for key in keys if key is not None), None)


def halves_of(request: Request) -> list[Halves]:
    """What a browser sends that was signed in.

    Behind one proxy a server may be below the path of another: the browser then sends it the cookies of both.
    """
    page, name = request.headers.get(HEADER), cookie_name(request)
    cookies = "; ".join(request.headers.getlist("cookie")).split(";")
    pairs = (cookie.strip().partition("=") for cookie in cookies)
    return [Halves(value, page) for one, _, value in pairs if one == name and value] if page else []


def cookie_name(request: Request) -> str:
    """Of this port alone, so that two servers of one host do not sign each other's browsers out."""
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"htcgrid_console_{port}" if port.isdecimal() else "htcgrid_console"


def check_own_page(request: Request, *, must_say: bool) -> None:
    """Let requests of this server's own pages pass, and no others.

    Origins that were allowed to use keys are others, and so are other ports of this host, which browsers take for the
    same site.

    Args:
        must_say: whether a request that does not say where it is from is refused.

    Raises:
        Failure: it is from elsewhere.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "same-origin")
    own = request.headers.get("host", "").lower()
    is_own = not must_say if origin is None else urlsplit(origin.lower()).netloc == own
    if not is_own or site != "same-origin":
        raise Failure(problems.FORBIDDEN, "only the console's own page may ask with its cookie")
