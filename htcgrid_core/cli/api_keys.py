"""``htcgrid api-keys``: who may ask a server of ``htcgrid serve``, and for what."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.exits import Exit, Failure
from htcgrid_core.cli.options import key_file_option
from htcgrid_core.cli.output import echo, print_json, say

if TYPE_CHECKING:
    from htcgrid_core.api.auth.keys import Key

SCOPES = ("read", "submit", "code", "operate", "hold")
DAY_SECONDS = 86400.0


@click.group("api-keys", short_help="Keys of those who may ask a server of htcgrid serve.")
def api_keys() -> None:
    """Keys of those who may ask a server of ``htcgrid serve``: a file that it reads again when it has changed.

    Scopes: read (sessions, results, functions, load), submit (sessions of deployed functions), code (whatever chooses
    the code that runs: import paths, deployments, pickles), operate (agents, destinations),
    hold (legal holds). None includes another.
    """


@api_keys.command("add", short_help="Make a key, and print its token.")
@click.argument("name")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True, help="May be repeated.")
@click.option("--tenant", "tenants", multiple=True, default=("default",), show_default=True, help="* for all.")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="For which it is good.  [default: for ever]")
@key_file_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
def add(
    name: str, scopes: tuple[str, ...], tenants: tuple[str, ...], days: float | None, key_file: Path, as_json: bool
) -> None:
    """Make a key for NAME, whom the audit then names, and print its token: it is shown by ``token``, too."""
    from pydantic import ValidationError

    from htcgrid_core.api.auth.keys import changing, new_key, read_keys, write_keys
    from htcgrid_core.api.auth.principal import Scope

    until = None if days is None else time.time() + days * DAY_SECONDS
    try:
        key = new_key(name, frozenset(map(Scope, scopes)), frozenset(tenants), until)
    except ValidationError as error:
        raise click.UsageError("; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors())) from None
    with changing(key_file):
        write_keys(key_file, [*(read_keys(key_file) if key_file.exists() else []), key])
    if as_json:
        print_json({**_view(key), "token": key.secret})
    else:
        echo(key.secret)


@api_keys.command("list", short_help="List keys, without their tokens.")
@key_file_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
def list_keys(key_file: Path, as_json: bool) -> None:
    """List keys, without their tokens."""
    from htcgrid_core.api.auth.keys import read_keys

    for key in read_keys(key_file):
        view = _view(key)
        if as_json:
            print_json(view)
        else:
            until = "for ever" if key.expires_at is None else time.strftime("until %F", time.localtime(key.expires_at))
            echo(f"{key.id}  {key.name}  {','.join(view['scopes'])}  {','.join(view['tenants'])}  {until}")


@api_keys.command(short_help="Print the token of a key.")
@click.argument("name", required=False)
@key_file_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
def token(name: str | None, key_file: Path, as_json: bool) -> None:
    """Print the token of the key of this NAME or id; of the only one, without a name."""
    key = _found(key_file, name)
    if as_json:
        print_json({**_view(key), "token": key.secret})
    else:
        echo(key.secret)


@api_keys.command(short_help="Remove a key.")
@click.argument("name")
@key_file_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
def remove(name: str, key_file: Path, as_json: bool) -> None:
    """Remove the key of this NAME or id: within seconds it is refused."""
    from htcgrid_core.api.auth.keys import changing, read_keys, write_keys

    if not key_file.exists():
        read_keys(key_file)  # which says so
    with changing(key_file):
        key = _found(key_file, name)
        write_keys(key_file, [one for one in read_keys(key_file) if one.id != key.id])
    if as_json:
        print_json(_view(key))
    else:
        say(f"key {key.id} of {key.name} is removed")


def _found(key_file: Path, name: str | None) -> Key:
    from htcgrid_core.api.auth.keys import read_keys

    found = [key for key in read_keys(key_file) if name in (None, key.name, key.id)]
    if len(found) != 1:
        which = "" if name is None else f" called {name}"
        raise Failure(f"{key_file} has {len(found)} keys{which}: name one by its id", Exit.BAD_INPUT)
    return found[0]


def _view(key: Key) -> dict[str, Any]:
    shown = {"id": key.id, "name": key.name, "expires_at": key.expires_at}
    return {**shown, "scopes": sorted(key.scopes), "tenants": sorted(key.tenants)}
