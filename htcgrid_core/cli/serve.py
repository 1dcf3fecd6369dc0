"""``htcgrid serve``: a grid over HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from htcgrid_core.cli.options import grid_options, key_file_option
from htcgrid_core.cli.output import echo, print_json


@click.command(short_help="Serve a grid over HTTP: a REST API, and connect('http://...').")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 for any that is free.")
@key_file_option
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A name of this server. May be repeated.")
@click.option(
    "--allow-origin", "origins", multiple=True, metavar="ORIGIN", help="Of pages that may ask. May be repeated."
)
@click.option("--tls-certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM file.")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM file.")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Requests a second of one key at most."
)
@click.option(
    "--link",
    "links",
    multiple=True,
    metavar="NAME=TEMPLATE",
    help="From sessions to what they belong to: https://HOST/runs/{LABEL}. May be repeated.",
)
@click.option(
    "--sources",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON: each tenant's prefixes and connections, from which sessions' events are read here.",
)
@click.option("--jwt-issuer", metavar="URL", help="Whose tokens are good beside keys: their iss.")
@click.option("--jwt-keys-url", default="", metavar="URL", help="Its JWKS.  [default: as Cognito has it]")
@click.option("--jwt-audience", "audiences", multiple=True, metavar="AUD", help="They have it. May be repeated.")
@click.option("--jwt-client", "clients", multiple=True, metavar="ID", help="For whom tokens are made. May be repeated.")
@click.option("--jwt-tenants", default="htcgrid_tenants", show_default=True, metavar="CLAIM", help="Names the tenants.")
@grid_options
def serve(
    url: str,
    as_json: bool,
    host: str,
    port: int,
    key_file: Path,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    tls_certificate: Path | None,
    tls_key: Path | None,
    rate: float | None,
    links: tuple[str, ...],
    sources: Path | None,
    jwt_issuer: str | None,
    jwt_keys_url: str,
    audiences: tuple[str, ...],
    clients: tuple[str, ...],
    jwt_tenants: str,
) -> None:
    """Serve a grid over HTTP until Ctrl-C: a REST API under /v1, described at /openapi.json.

    Whoever asks needs a key: Authorization: Bearer KEY. If the key file is not there, it is made, with a key that has
    every scope; only its owner can read it. See ``htcgrid api-keys``.

    With --jwt-issuer, its access tokens are good too: their scopes are htcgrid/read, htcgrid/submit, htcgrid/code,
    htcgrid/operate and htcgrid/hold. Tokens of Amazon Cognito have no audience: name the clients that they are made
    for.
    """
    from htcgrid_core.api.links import Link
    from htcgrid_core.api.serving import Serve, serve

    if (tls_certificate is None) != (tls_key is None):
        raise click.UsageError("--tls-certificate and --tls-key go together.")
    issuer = None
    if jwt_issuer is not None:
        from htcgrid_core.api.auth.tokens import Issuer

        issuer = Issuer(jwt_issuer, jwt_keys_url, audiences, clients, jwt_tenants)

    def tell(address: str, console: str) -> None:
        if as_json:
            print_json({"url": address, "key_file": str(key_file), "console": console})
        else:
            echo(f"serving {url} at {address}; keys are in {key_file}")
            echo(f"console: {console} ({'opens once' if '#' in console else 'sign in with a key'})")

    asked = Serve(
        url,
        key_file,
        host=host,
        port=port,
        allow_hosts=hosts,
        allow_origins=origins,
        certificate=tls_certificate,
        certificate_key=tls_key,
        requests_a_second=rate,
        issuer=issuer,
        links=[Link.read(link) for link in links],
        sources=sources,
    )
    serve(asked, tell)
