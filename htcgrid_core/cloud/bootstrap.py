"""Making and removing a whole grid, for development and emulators."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.mixed_endpoints import check_endpoints
from htcgrid_core.adapters.aws.parameter import Defaults, GridParameter, parameter_name, read_parameter
from htcgrid_core.adapters.aws.resources.grid import GridResources
from htcgrid_core.adapters.aws.resources.patience import Patience
from htcgrid_core.adapters.aws.resources.removal import Removal, survey
from htcgrid_core.cloud.address import Address
from htcgrid_core.domain.errors import IncompatibleGrid, InvalidInput, UnknownGrid
from htcgrid_core.domain.retention import Retention


def bootstrap(
    address: Address,
    pools: Sequence[str],
    *,
    agents: int | None = None,
    retention: Retention | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> GridParameter:
    """Make what grid ``address.name`` lacks: table, queues, bucket, secret and parameters. May be repeated.

    Args:
        agents: that each pool may be scaled to, for which sessions are cut small enough; None for what it was, or 1.
        retention: how long tenants' sessions may be kept, in place of what was said before; None for that, or the
            standard.
        say: called with each thing that is there, and with what is waited for.

    Raises:
        InvalidInput: a name is no good, there are too many pools, something that is there may be another's, or some
            services would be AWS's own and others not; nothing was made.
        AccessDenied, GridUnavailable: some was made; the same call carries on.
    """
    if not pools:
        raise InvalidInput(f"grid {address.name!r} needs a pool: default, for example; nothing was made")
    if agents is not None and agents < 1:
        raise InvalidInput(f"a pool can have one agent or more, not {agents}; nothing was made")
    clients = Clients(address.settings)
    check_endpoints(clients)
    before = _parameter_of(clients, address.name)
    defaults = Defaults() if before is None else before.defaults
    defaults = defaults.model_copy(update={} if agents is None else {"agents": agents})
    defaults = defaults.model_copy(update={} if retention is None else {"retention": dict(retention.tenants)})
    return GridResources(clients, address.name, before, Patience(say)).make(pools, defaults)


def plan_teardown(address: Address, *, say: Callable[[str], None] = lambda _: None) -> Removal:
    """Look at what a teardown would remove, which is what the grid's own parameter and tags name, and what it leaves.

    Args:
        say: called with what is waited for.

    Raises:
        InvalidInput: some services would be AWS's own and others not.
        IncompatibleGrid: there is a parameter that names nothing that this version knows.
    """
    clients, name = Clients(address.settings), address.name
    check_endpoints(clients)
    try:
        before = _parameter_of(clients, name)
    except IncompatibleGrid as error:
        raise IncompatibleGrid(
            f"{error}. Nothing was removed; without the parameter (`aws ssm delete-parameter --name "
            f"{parameter_name(name)}`) what is tagged as the grid's is"
        ) from error
    return survey(clients, name, before, Patience(say))


def teardown(address: Address, *, say: Callable[[str], None] = lambda _: None) -> None:
    """Remove everything of a grid, sessions and results with it. May be repeated."""
    plan_teardown(address, say=say).carry_out(say)


def _parameter_of(clients: Clients, name: str) -> GridParameter | None:
    try:
        return read_parameter(clients, name)
    except UnknownGrid:
        return None
