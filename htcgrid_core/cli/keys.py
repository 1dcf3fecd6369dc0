"""``htcgrid keys``: the secrets that sign pickles, of which nothing but their ids is ever shown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.options import grid_options
from htcgrid_core.cli.output import add_row, moment, print_json, show, table
from htcgrid_core.cli.planes import opened

if TYPE_CHECKING:
    from htcgrid_core.local.keys import KeyUse
    from htcgrid_core.ports.keyring import StoredKey


@click.group(short_help="List, rotate and drop the keys that sign pickles.")
def keys() -> None:
    """The keys of a grid, with which pickles are signed. Nothing but their ids is shown."""


@keys.command("list", short_help="List keys, and what needs each.")
@grid_options
def list_(url: str, as_json: bool) -> None:
    """List the keys of a grid: which one signs, how old each is, and what needs it.

    LIVE and ENDED are pickled sessions that run, and that can still be read; DEPLOYED versions of functions; BLOBS
    callables, packages and shared inputs. It reads the rows of all sessions.
    """
    from htcgrid_core.local.keys import uses

    with opened(url) as grid:
        views = [_use_view(use) for use in uses(grid.plane)]
    if as_json:
        for view in views:
            print_json(view)
        return
    counts = ["LIVE", "ENDED", "DEPLOYED", "BLOBS"]
    made = table("KEY", "MADE", "USE", *counts, numbers=counts)
    for view in views:
        use = "signs" if view["signs"] else "verifies"
        columns = view["live"], view["ended"], len(view["deployed"]), view["blobs"]
        add_row(made, view["key"], moment(view["made_at"]), use, *columns)
    show(made)


@keys.command(short_help="Make a new key, which signs from now on.")
@grid_options
def rotate(url: str, as_json: bool) -> None:
    """Make a new key: it signs what is new, the old ones verify what they have signed.

    Clients sign with it within a minute; agents learn it when they meet it. Sessions submitted from then on are for
    agents of this release or later, so update all agents first. Of several rotations at once one makes the key.
    """
    from htcgrid_core.local.keys import rotate as make

    with opened(url) as grid:
        made = make(grid.plane)
    if as_json:
        print_json(_view(made))
    else:
        click.echo(f"{made.key.id} signs from now on")


@keys.command(short_help="Drop old keys that nothing needs.")
@click.option("--force", is_flag=True, help="All but the newest: what they have signed can no longer be read.")
@grid_options
def prune(url: str, as_json: bool, force: bool) -> None:
    """Drop the old keys that nothing needs any more, a day or longer after the next one was made.

    A callable or shared input needs its key until nobody has used it for 30 days. A version of a function needs it
    until it is removed: deploy it again, which makes a version that the newest key signs, and remove the old one.
    If others may have an old key, --force drops it at once: processes that run forget it within a minute, and reading
    what it has signed is SignatureInvalid.
    """
    from htcgrid_core.local.keys import prune as drop

    with opened(url) as grid:
        dropped = drop(grid.plane, whatever_needs_them=force)
    if as_json:
        for stored in dropped:
            print_json(_view(stored))
    else:
        click.echo("\n".join(f"{stored.key.id} is dropped" for stored in dropped) or "no key can be dropped")


def _view(stored: StoredKey) -> dict[str, Any]:
    return {"key": stored.key.id, "number": stored.number, "made_at": stored.made_at}


def _use_view(use: KeyUse) -> dict[str, Any]:
    return _view(use.stored) | {
        "age_seconds": max(0.0, time.time() - use.stored.made_at),
        "signs": use.signs,
        "live": use.live,
        "ended": use.ended,
        "deployed": list(use.deployed),
        "blobs": use.blobs,
    }
