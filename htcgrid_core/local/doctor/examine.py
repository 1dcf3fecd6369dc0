"""The examination: every check in the order in which they rest on each other."""

from __future__ import annotations

from functools import partial

from htcgrid_core.local.directory import Directory
from htcgrid_core.local.doctor import database, running, storage, surroundings
from htcgrid_core.local.doctor.finding import Findings, ok
from htcgrid_core.local.doctor.looks import Look, guarded, in_order
from htcgrid_core.local.fleet import Fleet


def examine(directory: Directory, fleet: Fleet) -> Findings:
    """Look at an embedded grid; the findings come as they are made.

    Never raises for what is wrong with the grid. If the directory can be used, a task is run in it: agents are started
    as by a submit, and its session is deleted a minute later.
    """
    yield ok("grid", str(directory.root))
    for check in (surroundings.python, surroundings.package, surroundings.temporary_files, surroundings.environment):
        yield from guarded(check.__name__, check)
    looks: dict[str, Look] = {
        "directory": partial(storage.directory, directory),
        "disk": partial(storage.disk, directory),
        "key": partial(storage.key, directory),
        "named pipes": partial(storage.pipes, directory),
        "sqlite": partial(database.library, directory),
        "database": partial(database.file, directory),
        "agents": partial(running.agents, directory),
        "round trip": partial(running.round_trip, directory, fleet),
        "fleet": partial(running.fleet_of, directory, fleet),
    }
    yield from in_order(looks)
