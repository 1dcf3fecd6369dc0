"""All that a grid has in one account and region: made step by step, the parameter last, by which it is found."""

from __future__ import annotations

import json
from collections.abc import Sequence

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.errors import aws_errors
from htcgrid_core.adapters.aws.keys import SsmKeys
from htcgrid_core.adapters.aws.parameter import Defaults, GridParameter, PoolQueues, key_name, parameter_name
from htcgrid_core.adapters.aws.resources import names
from htcgrid_core.adapters.aws.resources.buckets import Bucket
from htcgrid_core.adapters.aws.resources.merging import write_merged
from htcgrid_core.adapters.aws.resources.parameters import Parameter, check_size, text_of
from htcgrid_core.adapters.aws.resources.patience import Patience
from htcgrid_core.adapters.aws.resources.queues import Queue
from htcgrid_core.adapters.aws.resources.resource import Resource
from htcgrid_core.adapters.aws.resources.tables import Table
from htcgrid_core.adapters.aws.resources.tags import TAG
from htcgrid_core.adapters.aws.sqs.receiver import LONG_POLL_SECONDS
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput

RETENTION_SECONDS = 14 * 86400  # of messages: SQS's longest
# An agent that looks and has no room hands a message back, which counts as a receive; crashes are counted in the table.
MAX_RECEIVES = 100


class GridResources:
    """What grid ``name`` is to have.

    Args:
        before: its parameter; None for a grid that has none. What it names keeps its name.
    """

    def __init__(self, clients: Clients, name: str, before: GridParameter | None, patience: Patience) -> None:
        self._clients = clients
        self._name = name
        self._before = before
        self._patience = patience

    def make(self, pools: Sequence[str], defaults: Defaults) -> GridParameter:
        """Make what is missing.

        Raises:
            InvalidInput: a name is no good, there are too many pools, or something that is there may be another's;
                nothing was made.
            AccessDenied, GridUnavailable: some was made; the same call carries on.
        """
        planned = self._planned(pools, defaults)
        check_size(planned)
        table = Table(self._clients, planned.table, self._patience)
        bucket = Bucket(self._clients, planned.bucket, planned.account, self._patience)
        queues = {pool: self._queues(pool, urls) for pool, urls in planned.queues.items()}
        everything: list[Resource] = [table, bucket, *(queue for each in queues.values() for queue in each.values())]
        untagged = [resource for resource in everything if self._owner(resource) == ""]  # an earlier version's
        table.make(self._name)
        self._patience.say(table.label)
        made = {pool: self._make_queues(each) for pool, each in queues.items()}
        bucket.make(self._name)
        self._patience.say(bucket.label)
        for resource in untagged:
            resource.claim(self._name)
        secret = Parameter(self._clients, self._name, planned.key, self._patience)
        if not SsmKeys(self._clients, self._name, planned.key).later_names():  # or the first one was dropped
            secret.make_secret()
        self._patience.say(f"secret {planned.key}")
        found_by = Parameter(self._clients, self._name, parameter_name(self._name), self._patience)
        mine = planned.model_copy(update={"queues": made})
        parameter = write_merged(
            found_by, self._name, mine, Defaults() if self._before is None else self._before.defaults
        )
        self._patience.say(found_by.label)
        return parameter

    def _planned(self, pools: Sequence[str], defaults: Defaults) -> GridParameter:
        """What its parameter will say; the queues' URLs as AWS makes them."""
        with aws_errors("AWS STS"):
            account = self._clients.sts.get_caller_identity()["Account"]
        before = self._before
        new = {pool: self._new_queues(pool, account) for pool in pools if before is None or pool not in before.queues}
        names.check_pools(new)
        if before is not None:
            update = {"queues": {**before.queues, **new}, "defaults": defaults, "account": before.account or account}
            return before.model_copy(update=update)
        names.check_grid(self._name, account, self._clients.region)
        return GridParameter(
            table=names.table(self._name),
            bucket=names.bucket(self._name, account, self._clients.region),
            account=account,
            queues=new,
            key=key_name(self._name),
            defaults=defaults,
        )

    def _new_queues(self, pool: str, account: str) -> PoolQueues:
        root = f"{self._clients.sqs.meta.endpoint_url}/{account}"
        return PoolQueues(**{each: f"{root}/{names.queue(self._name, pool, each)}" for each in names.PRIORITIES})

    def _queues(self, pool: str, planned: PoolQueues) -> dict[str, Queue]:
        """By priority. Those that are new have no URL yet, whatever it is planned to be."""
        known = self._before is not None and pool in self._before.queues
        found = {each: Queue.at(self._clients, getattr(planned, each), self._patience) for each in names.PRIORITIES}
        return found if known else {each: Queue(self._clients, q.name, self._patience) for each, q in found.items()}

    def _known(self, resource: Resource) -> bool:
        """Whether the grid's own parameter names it."""
        return self._before is not None and resource.named_in(text_of(self._before))

    def _owner(self, resource: Resource) -> str | None:
        owner = resource.owner()
        if owner in (None, self._name) or self._known(resource):
            return owner
        if isinstance(resource, Bucket) and not owner and resource.is_empty():
            return owner  # its tag comes a moment after it
        whose = f"is tagged as grid {owner!r}'s" if owner else f"has no tag {TAG}={self._name}"
        raise InvalidInput(
            f"{resource.label} is there already, and may be another's: it {whose}, and no parameter of grid "
            f"{self._name!r} names it. Delete it, or tag it, or give the grid another name; nothing was made"
        )

    def _make_queues(self, queues: dict[str, Queue]) -> PoolQueues:
        common = {"MessageRetentionPeriod": str(RETENTION_SECONDS)}
        dead = self._make_queue(queues["dead"], common)
        working = {**common, **_working_attributes(queues["dead"])}
        urls = {each: self._make_queue(queues[each], working) for each in names.PRIORITIES if each != "dead"}
        return PoolQueues(**urls, dead=dead)

    def _make_queue(self, queue: Queue, attributes: dict[str, str]) -> str:
        url = queue.make(self._name, attributes)
        self._patience.say(queue.label)
        return url


def _working_attributes(dead: Queue) -> dict[str, str]:
    """Of a queue from which agents take work."""
    redrive = {"deadLetterTargetArn": dead.arn(), "maxReceiveCount": MAX_RECEIVES}
    return {
        "VisibilityTimeout": str(int(limits.LEASE_SECONDS)),
        "ReceiveMessageWaitTimeSeconds": str(LONG_POLL_SECONDS),
        "RedrivePolicy": json.dumps(redrive),
    }
