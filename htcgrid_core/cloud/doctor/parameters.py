"""The parameter that the grid's name stands for, and its secret."""

from __future__ import annotations

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.parameter import GridParameter, parameter_name, read_key
from htcgrid_core.domain.errors import IncompatibleGrid
from htcgrid_core.local.doctor.finding import Findings, ok, problem


def parameter(name: str, found: GridParameter) -> Findings:
    """What it says."""
    agents = found.defaults.agents
    text = f"{parameter_name(name)}: pools {', '.join(found.queues)}, cut for {agents} agents each"
    yield ok("parameter", text)


def key(clients: Clients, name: str, found: GridParameter) -> Findings:
    """The secret, of which nothing but its size is told."""
    try:
        secret = read_key(clients, name, found)
    except IncompatibleGrid as error:
        advice = "restore it from a copy; with a new one nothing that was signed before can be read"
        yield problem("key", str(error), advice)
    else:
        yield ok("key", f"{found.key}, {len(secret)} bytes")
