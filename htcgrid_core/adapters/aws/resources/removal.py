"""Which resources are a grid's, by its own parameter and by tags, and removing those and no others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.errors import aws_errors
from htcgrid_core.adapters.aws.keys import SsmKeys
from htcgrid_core.adapters.aws.parameter import GridParameter, key_name, parameter_name
from htcgrid_core.adapters.aws.resources import names
from htcgrid_core.adapters.aws.resources.buckets import Bucket
from htcgrid_core.adapters.aws.resources.parameters import Parameter, parameters_of_others
from htcgrid_core.adapters.aws.resources.patience import Patience, Say
from htcgrid_core.adapters.aws.resources.queues import Queue, queues_with
from htcgrid_core.adapters.aws.resources.resource import Resource
from htcgrid_core.adapters.aws.resources.tables import Table
from htcgrid_core.adapters.aws.resources.tags import TAG


@dataclass(frozen=True)
class Removal:
    """What a teardown would do.

    Attributes:
        resources: that are the grid's, in the order in which they are removed.
        left: what may be the grid's, and why it stays.
    """

    grid: str
    resources: tuple[Resource, ...]
    left: tuple[str, ...]

    def carry_out(self, say: Say = lambda _: None) -> None:
        """Remove them, the parameter first, so that nobody finds the grid half removed.

        What only the parameter names is tagged before, so that a teardown that was interrupted can be repeated.

        Args:
            say: called with each thing that was removed.
        """
        for resource in self.resources:
            if resource.owner() == "":
                resource.claim(self.grid)
        for resource in self.resources:
            resource.remove()
            say(resource.label)


def survey(clients: Clients, grid: str, parameter: GridParameter | None, patience: Patience) -> Removal:
    """Look at what a grid has. Nothing is changed.

    Args:
        parameter: its own; None if there is none.
    """
    with aws_errors("AWS STS"):
        account = clients.sts.get_caller_identity()["Account"]
    others = parameters_of_others(clients, grid)
    resources, left = [], []
    known = _known(clients, grid, account, parameter, patience)
    for resource in (*known, *_likely(clients, grid, account, known, patience)):
        owner = resource.owner()
        shared = [other for other, text in others.items() if resource.named_in(text)]
        if owner is None or (resource not in known and (owner not in ("", grid) or (shared and not owner))):
            continue  # not there, or another's
        if shared:
            left.append(f"{resource.label}: grid {shared[0]!r} uses it, too")
        elif owner not in ("", grid):
            left.append(f"{resource.label}: it is tagged as grid {owner!r}'s")
        elif resource not in known and not owner:
            left.append(f"{resource.label}: nothing but its name says that it is the grid's; if it is: {TAG}={grid}")
        else:
            resources.append(resource)
    return Removal(grid, tuple(resources), tuple(left))


def _known(
    clients: Clients, grid: str, account: str, parameter: GridParameter | None, patience: Patience
) -> tuple[Resource, ...]:
    """What is the grid's by its parameter, or by a path that no other has."""
    found_by = Parameter(clients, grid, parameter_name(grid), patience)
    if parameter is None:
        return found_by, *_keys(clients, grid, key_name(grid), patience)
    urls = [getattr(queues, each) for queues in parameter.queues.values() for each in names.PRIORITIES]
    return (
        found_by,
        *(Queue.at(clients, url, patience) for url in urls),
        Bucket(clients, parameter.bucket, parameter.account or account, patience),
        Table(clients, parameter.table, patience),
        *(
            secret
            for first in dict.fromkeys((parameter.key, key_name(grid)))
            for secret in _keys(clients, grid, first, patience)
        ),
    )


def _keys(clients: Clients, grid: str, first: str, patience: Patience) -> list[Resource]:
    names = (first, *SsmKeys(clients, grid, first).later_names())
    return [Parameter(clients, grid, name, patience) for name in names]


def _likely(
    clients: Clients, grid: str, account: str, known: tuple[Resource, ...], patience: Patience
) -> Iterator[Resource]:
    """What has such a name as the grid's things have, and so may be another's; its tag tells."""
    labels = {resource.label for resource in known}
    for prefix in names.queue_prefixes(grid):
        yield from (queue for queue in queues_with(clients, prefix, patience) if queue.label not in labels)
    for resource in (
        Bucket(clients, names.bucket(grid, account, clients.region), account, patience),
        Table(clients, names.table(grid), patience),
    ):
        if resource.label not in labels:
            yield resource
