"""Whether modules in the current folder may be imported: handlers that are named, and what pickles need."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from htcgrid_core.cli.output import say
from htcgrid_core.disk.private import others_may_write

if TYPE_CHECKING:
    from htcgrid_core.client.session import Session


def make_cwd_importable() -> None:
    """Put the current folder on sys.path, last: what is installed is never taken from there.

    It is left out if others may write to it, since whatever they put there would run as this user.
    """
    try:
        here = os.getcwd()
    except OSError:
        return  # it is gone, and all that was in it
    program = os.path.dirname(os.path.realpath(sys.argv[0]))
    if sys.path and sys.path[0] == program:
        del sys.path[0]
    if here in sys.path:
        return
    if others_may_write(here):
        say(
            f"warning: nothing is imported from {here}, since other users may write to it (chmod go-w {here}, or name "
            "a folder in PYTHONPATH)"
        )
        return
    sys.path.append(here)


def make_importable_for(session: Session) -> None:
    """What pickled results and exceptions may need; those that are JSON need nothing."""
    if session.spec.codec == "pickle":
        make_cwd_importable()
