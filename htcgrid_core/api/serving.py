"""Serving a grid over HTTP until told to stop: uvicorn around the application."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from htcgrid_core.api.app import application
from htcgrid_core.api.auth.authenticator import Authenticator, KeyWay, Way
from htcgrid_core.api.auth.keys import KeyFile, generated
from htcgrid_core.api.connections import CONNECTIONS, Connection, allow_many
from htcgrid_core.api.console.browser import BrowserWay
from htcgrid_core.api.console.routes import console_routes
from htcgrid_core.api.console.sign_ins import SignIns
from htcgrid_core.api.guard import LOOPBACK, Guard
from htcgrid_core.api.lambda_api.routes import lambda_routes
from htcgrid_core.api.links import Link
from htcgrid_core.api.rates import Rates
from htcgrid_core.api.service import Service, Settings
from htcgrid_core.api.streams import Interrupted
from htcgrid_core.data.served_sources import ServedSources
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput
from htcgrid_core.gateway.opening import open_served

if TYPE_CHECKING:
    from htcgrid_core.api.auth.tokens import Issuer

GRACE_SECONDS = 5  # in which streams that are broken off, and requests that are under way, end
KEEP_ALIVE_SECONDS = 75
_AT_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Serve:
    """What to serve, and to whom.

    Attributes:
        url: the grid's.
        key_file: the keys of those who may ask; made, with one that has every scope, if it is not there.
        allow_hosts: names of this server beside that of ``host``; ``*`` for any.
        allow_origins: of pages that may ask.
        certificate, certificate_key: files for TLS; None for none.
        requests_a_second: by one principal; None for no limit.
        issuer: of tokens that are good beside keys.
        links: from sessions to what they belong to.
        sources: a file of what is read for whom; None for nothing.
    """

    url: str
    key_file: Path
    host: str = "127.0.0.1"
    port: int = 8080
    allow_hosts: Sequence[str] = ()
    allow_origins: Sequence[str] = ()
    certificate: Path | None = None
    certificate_key: Path | None = None
    requests_a_second: float | None = None
    issuer: Issuer | None = None
    links: Sequence[Link] = ()
    sources: Path | None = None


def serve(asked: Serve, on_ready: Callable[[str, str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        on_ready: called with the server's URL and its console's once it listens. The console's signs one browser in, of
            a server that listens at loopback: what others print is read by more than their owners.

    Raises:
        InvalidInput: a file or an address is no good. UnknownGrid, AccessDenied, GridUnavailable: as for ``connect``.
    """
    if asked.certificate is not None:
        _check_certificate(asked.certificate, asked.certificate_key)
    sources = None if asked.sources is None else ServedSources.read(asked.sources)
    served = open_served(asked.url)  # before anything is made for a grid that there is not
    keys = KeyFile(generated(asked.key_file))
    sign_ins = SignIns(keys)
    ways: list[Way] = [KeyWay(keys), BrowserWay(sign_ins)]
    if asked.issuer is not None:
        from htcgrid_core.api.auth.tokens import TokenWay  # cryptography takes a while

        ways.append(TokenWay(asked.issuer))
    sock = _listening(asked.host, asked.port)
    port = sock.getsockname()[1]
    service = Service(
        served,
        Authenticator(ways),
        Guard(_hosts(asked), asked.allow_origins),
        Rates(asked.requests_a_second),
        Settings(links=tuple(asked.links)),
        sources,
    )
    config = uvicorn.Config(
        application(service, [*lambda_routes(service, keys), *console_routes(service, sign_ins)]),
        http=Connection,
        loop="uvloop",
        limit_concurrency=CONNECTIONS,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nothing here goes by them
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_certfile=asked.certificate,
        ssl_keyfile=asked.certificate_key,
        lifespan="on",
        ws="none",
    )
    allow_many()
    logging.getLogger("uvicorn.error").addFilter(_is_no_interruption)
    address = _url(asked, port)
    server = _Server(config, service, lambda: on_ready(address, _console(asked, address, sign_ins)))
    server.run(sockets=[sock])


class _Server(uvicorn.Server):
    """Tells when it is ready, and lets those who wait go before it waits for them."""

    def __init__(self, config: uvicorn.Config, service: Service, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.stop_soon()
        await super().shutdown(sockets)


def _is_no_interruption(record: logging.LogRecord) -> bool:
    """A stream that is broken off ends its connection by an exception, which nobody need read."""
    return not (record.exc_info and isinstance(record.exc_info[1], Interrupted))


def _check_certificate(certificate: Path, key: Path | None) -> None:
    """Whether TLS can be served with these files.

    Raises:
        InvalidInput: it cannot.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(certificate)
    except ssl.SSLError as error:
        raise InvalidInput(f"TLS cannot be served: {certificate} holds no certificate in PEM format") from error
    except OSError as error:
        raise InvalidInput(f"TLS cannot be served: {certificate}: {error.strerror or error}") from error
    try:
        # An empty password, where OpenSSL would ask the terminal for that of an encrypted key.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        is_others = error.reason == "KEY_VALUES_MISMATCH"
        what = f"is not the key of {certificate}" if is_others else "holds no key in PEM format, or an encrypted one"
        raise InvalidInput(f"TLS cannot be served: {key} {what}") from error
    except OSError as error:
        raise InvalidInput(f"TLS cannot be served: {key}: {error.strerror or error}") from error


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except socket.gaierror as error:
        raise InvalidInput(f"{host!r} is no address of this machine: {error}") from error
    except OSError as error:
        raise GridUnavailable(f"nothing can be served at {host}:{port}: {error.strerror or error}") from error
    return sock


def _hosts(asked: Serve) -> list[str]:
    names = [*asked.allow_hosts, *LOOPBACK]  # of an address that nobody can be lured to by a name
    if asked.host not in ("0.0.0.0", "::"):  # noqa: S104 - these are compared, not bound
        names.append(f"[{asked.host}]" if ":" in asked.host else asked.host)
    return names


def _console(asked: Serve, address: str, sign_ins: SignIns) -> str:
    """The console's address: behind the #, which browsers send to nobody, a code that signs one in."""
    code = sign_ins.new_code() if asked.host in _AT_LOOPBACK else None
    return f"{address}/console/" if code is None else f"{address}/console/#code={code}"


def _url(asked: Serve, port: int) -> str:
    scheme = "http" if asked.certificate is None else "https"
    host = f"[{asked.host}]" if ":" in asked.host else asked.host
    return f"{scheme}://{host}:{port}"
