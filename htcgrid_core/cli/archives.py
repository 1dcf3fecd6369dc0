"""``htcgrid data export`` and ``import``: sessions as files, from one grid to another."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from htcgrid_core.cli.options import connected, grid_options, label_option
from htcgrid_core.cli.output import print_json, say
from htcgrid_core.cli.planes import opened
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput, NotOffered

if TYPE_CHECKING:
    from htcgrid_core.codecs.signing import Key

MOST = 10_000  # sessions that a label may choose


@click.command("export", short_help="Write sessions that have ended into a file.")
@click.argument("session_ids", metavar="[SESSION...]", nargs=-1)
@click.argument("path", type=click.Path(path_type=Path))
@label_option("Export the sessions that have ended and have this label.")
@grid_options
def export_command(url: str, as_json: bool, session_ids: tuple[str, ...], path: Path, labels: dict[str, str]) -> None:
    """Write sessions that have ended into PATH, a zip archive that `htcgrid data import` reads.

    It holds events, results, errors, attempts, times and the audit of each, and which version of which function it
    ran; of sessions that ran another's failed tasks again, those others, too. PATH must not exist. SESSION is a whole
    id.
    """
    from htcgrid_core.local.archives import export

    _check_place(url)
    if bool(session_ids) is bool(labels):
        raise click.UsageError("Name sessions, or --label.")
    if path.exists():
        raise InvalidInput(f"{path} exists already: nothing was exported")
    if not path.parent.is_dir():
        raise InvalidInput(f"{path.parent} is no folder: nothing was exported")
    if labels:
        with connected(url) as found:
            chosen = found.sessions(labels=labels, limit=MOST + 1)
        if len(chosen) > MOST:
            raise InvalidInput(f"over {MOST:,} sessions have this label: name fewer with another")
        session_ids = tuple(one.id for one in chosen if one.record.ended and one.record.acknowledged)
        if not session_ids:
            raise InvalidInput("no session that has ended has this label: nothing was exported")
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with opened(url) as grid, open(beside, "xb") as file:
            written = export(grid.plane, session_ids, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise GridUnavailable(f"{path} cannot be written: {error}") from error
    finally:
        beside.unlink(missing_ok=True)
    if as_json:
        print_json({"path": str(path), "bytes": path.stat().st_size, "sessions": written})
    else:
        say(f"{path}: {'1 session' if len(written) == 1 else f'{len(written):,} sessions'}")


@click.command("import", short_help="Read sessions from a file of another grid.")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--key",
    "key_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the key of the grid that made PATH: 32 bytes, or these in hexadecimal.",
)
@grid_options
def import_command(url: str, as_json: bool, path: Path, key_file: Path | None) -> None:
    """Make the sessions of PATH, which `htcgrid data export` wrote, sessions of this grid that have ended.

    They keep their ids, and are kept for as long as their retention says from now on. All digests are compared before
    anything is written. What is here already is left as it is; what is another under one of the ids is an error.
    Archives with pickles, which run code when they are read, must be signed with a key of this grid, or with --key;
    this grid then signs them with its own.
    """
    from htcgrid_core.local.archives import import_archive

    _check_place(url)
    key = None if key_file is None else _key_in(key_file)
    with opened(url, make=True) as grid, open(path, "rb") as file:
        done = import_archive(grid.plane, file, actor=grid.plane.actor(), key=key)
    for one in done:
        if as_json:
            print_json({"session": one.session_id, "imported": one.is_new})
        else:
            say(f"session {one.session_id} is imported" if one.is_new else f"session {one.session_id} is here already")


def _check_place(url: str) -> None:
    if url.startswith(("http://", "https://")):
        raise NotOffered("archives are made and read where the grid is, with its keys: name it as local:// or aws://")


def _key_in(path: Path) -> Key:
    from htcgrid_core.codecs.signing import KEY_BYTES, Key

    secret = path.read_bytes()
    if len(secret) != KEY_BYTES:
        try:
            secret = bytes.fromhex(secret.decode("ascii").strip())
        except ValueError:
            secret = b""
    if len(secret) < KEY_BYTES:  # what it says is not shown, not even in part
        raise InvalidInput(f"{path} holds no key: neither {KEY_BYTES} bytes nor these in hexadecimal")
    return Key(secret)
