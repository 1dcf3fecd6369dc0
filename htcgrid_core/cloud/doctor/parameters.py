"""The parameter that the grid's name stands for, and its secret."""

from __future__ import annotations

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.keys import SsmKeys
from htcgrid_core.adapters.aws.parameter import GridParameter, parameter_name
from htcgrid_core.domain.errors import IncompatibleGrid
from htcgrid_core.local.doctor.finding import Findings, ok, problem, warning


def parameter(name: str, found: GridParameter) -> Findings:
    """What it says."""
    agents = found.defaults.agents
    text = f"{parameter_name(name)}: pools {', '.join(found.queues)}, cut for {agents} agents each"
    yield ok("parameter", text)


def key(clients: Clients, name: str, found: GridParameter) -> Findings:
    """The secrets, of which nothing but their size is told."""
    try:
        stored = SsmKeys(clients, name, found.key).read()
    except IncompatibleGrid as error:
        advice = "restore it from a copy; with a new one nothing that was signed before can be read"
        yield problem("key", str(error), advice)
        return
    if stored.denied is not None:
        advice = f"allow ssm:GetParametersByPath on parameter{found.key}, or `htcgrid keys rotate` is not followed"
        yield warning("key", str(stored.denied), advice)
        return
    signer = stored.signer.key
    others = f"; of {len(stored.keys)} keys {signer.id} signs" if len(stored.keys) > 1 else ""
    yield ok("key", f"{found.key}, {len(signer.secret)} bytes{others}")
