"""The examination: every check in the order in which they rest on each other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from htcgrid_core.local.agent_processes import Fleet
from htcgrid_core.local.directory import Directory
from htcgrid_core.local.doctor import database, running, storage, surroundings
from htcgrid_core.local.doctor.finding import Finding, Findings, Verdict, ok, problem, warning


def examine(directory: Directory, fleet: Fleet) -> Findings:
    """Look at an embedded grid; the findings come as they are made.

    Never raises for what is wrong with the grid. If the directory can be used, a task is run in it: agents are started
    as by a submit, and its session is deleted a minute later.
    """
    each = f"each with {fleet.slots_each} slots, leaving after {fleet.idle_seconds:g} s without work"
    yield ok("grid", f"{directory.root}, agents: {fleet.agents}, {each}")
    for check in (surroundings.python, surroundings.package, surroundings.temporary_files, surroundings.environment):
        yield from _guarded(check.__name__, check)
    looks: dict[str, Callable[[], Findings]] = {
        "directory": partial(storage.directory, directory),
        "disk": partial(storage.disk, directory),
        "key": partial(storage.key, directory),
        "named pipes": partial(storage.pipes, directory),
        "sqlite": partial(database.library, directory),
        "database": partial(database.file, directory),
        "agents": partial(running.agents, directory),
        "round trip": partial(running.round_trip, directory, fleet),
    }
    while looks:
        name = next(iter(looks))
        found = list(_guarded(name, looks.pop(name)))
        yield from found
        if looks and any(finding.verdict is Verdict.PROBLEM for finding in found):
            # What follows rests on it.
            yield warning(", ".join(looks), "not looked at", "mend the problem above, then ask again")
            return


def _guarded(name: str, check: Callable[[], Findings]) -> Findings:
    """The check's findings; one that fails is a finding too."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except Exception as error:  # noqa: BLE001 - the doctor must not faint, whatever it meets
        found.append(problem(name, f"cannot be looked at: {type(error).__name__}: {error}", "see the error"))
    yield from found
