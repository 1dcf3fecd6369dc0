"""Making and removing a whole grid, for development and emulators."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.parameter import Defaults, GridParameter, read_parameter
from htcgrid_core.adapters.aws.resources import Resources
from htcgrid_core.cloud.address import Address
from htcgrid_core.domain.errors import InvalidInput, UnknownGrid

POOL = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def bootstrap(
    address: Address, pools: Sequence[str], *, agents: int | None = None, say: Callable[[str], None] = lambda _: None
) -> GridParameter:
    """Make what grid ``address.name`` lacks: table, queues, bucket, secret and parameters. May be repeated.

    Args:
        agents: that each pool may be scaled to, for which sessions are cut small enough; None for what it was, or 1.
        say: called with each thing that is there.

    Raises:
        InvalidInput: a pool's name is no good.
        AccessDenied, GridUnavailable: some was made; the same call carries on.
    """
    for pool in pools:
        if not POOL.fullmatch(pool):
            raise InvalidInput(f"{pool!r} is not a pool's name: lower-case letters, digits and hyphens, 32 at most")
    clients = Clients(address.settings)
    try:
        before = read_parameter(clients, address.name)
    except UnknownGrid:
        every, defaults = list(pools), Defaults(agents=agents or 1)
    else:
        every = list(dict.fromkeys([*before.queues, *pools]))  # it adds pools, and takes none away
        defaults = before.defaults.model_copy(update={} if agents is None else {"agents": agents})
    return Resources(clients, address.name, say).make(every, defaults)


def teardown(address: Address, *, say: Callable[[str], None] = lambda _: None) -> None:
    """Remove everything of a grid, sessions and results with it. May be repeated."""
    Resources(Clients(address.settings), address.name, say).remove()
