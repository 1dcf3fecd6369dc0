"""The session store on SQLite: each method is one transaction, each condition part of its statement."""

from __future__ import annotations

from htcgrid_core.adapters.local.sqlite.agents import Roster
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.ending import Ending
from htcgrid_core.adapters.local.sqlite.leasing import Leasing
from htcgrid_core.adapters.local.sqlite.reading import Reading
from htcgrid_core.adapters.local.sqlite.submitting import Submitting


class SqliteStore(Submitting, Leasing, Ending, Reading, Roster):
    """Sessions, bundles and outcomes of one database: one part of the port a file."""

    def __init__(self, database: Database) -> None:
        self._database = database
