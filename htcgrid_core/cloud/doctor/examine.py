"""The examination of a grid on AWS: first what all else rests on, then each thing for itself."""

from __future__ import annotations

from functools import partial

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.dynamodb.store import DynamoStore
from htcgrid_core.adapters.aws.parameter import GridParameter, parameter_name, read_parameter
from htcgrid_core.adapters.aws.resources.bucket_settings import BucketSettings
from htcgrid_core.adapters.aws.resources.patience import Patience
from htcgrid_core.adapters.aws.resources.tables import Table
from htcgrid_core.cloud.address import Address
from htcgrid_core.cloud.doctor import account, agents, bucket, parameters, queues, quotas, table
from htcgrid_core.cloud.doctor.permitted import permitted
from htcgrid_core.cloud.plane import SYSTEM_CLOCK
from htcgrid_core.domain.extras import what_is_missing
from htcgrid_core.local.doctor import surroundings
from htcgrid_core.local.doctor.finding import Findings, ok
from htcgrid_core.local.doctor.looks import guarded, in_order


def examine(
    address: Address, context: str | None = None, namespace: str | None = None, *, without_cluster: str = ""
) -> Findings:
    """Look at a grid on AWS; the findings come as they are made. Nothing is written or sent.

    Args:
        context, namespace: of the cluster in which its agents are, if this machine knows one; see ``Cluster.open``.
        without_cluster: why no cluster is looked at, if so.

    Never raises for what is wrong with the grid. What the caller may not look at is a finding, with the permission that
    it takes; the rest is looked at all the same.
    """
    yield ok("grid", address.url)
    for check in (surroundings.python, surroundings.package):
        yield from guarded(check.__name__, check)
    grid = _Grid(address, context, namespace, without_cluster)
    reached = yield from in_order({"account": grid.account, "parameter": grid.parameter})
    if reached:
        yield from grid.resources()


class _Grid:
    def __init__(self, address: Address, context: str | None, namespace: str | None, without_cluster: str) -> None:
        self._name = address.name
        self._context = context
        self._namespace = namespace
        self._without_cluster = without_cluster
        self._clients = Clients(address.settings)
        self._found: GridParameter | None = None
        self._serving: dict[str, int] | None = None  # agents by pool, once they are known

    def account(self) -> Findings:
        yield from account.account(self._clients)
        yield from account.endpoints(self._clients)

    def parameter(self) -> Findings:
        action = f"ssm:GetParameter on parameter{parameter_name(self._name)}"
        yield from permitted("parameter", action, self._read_parameter, needed=True)

    def _read_parameter(self) -> Findings:
        self._found = read_parameter(self._clients, self._name)
        yield from parameters.parameter(self._name, self._found)

    def resources(self) -> Findings:
        assert self._found is not None, "looked at before"
        yield from guarded("key", partial(self._key, self._found))
        yield from guarded("table", partial(self._table, self._found))
        yield from guarded("bucket", partial(self._bucket, self._found))
        yield from guarded("agents", partial(self._agents, self._found))
        yield from guarded("queues", partial(self._queues, self._found))
        yield from guarded("parameter store", partial(self._parameter_store, self._found))
        yield from guarded("cluster", partial(self._cluster, self._found))

    def _key(self, found: GridParameter) -> Findings:
        action = f"ssm:GetParameter on parameter{found.key}, and kms:Decrypt on its KMS key"
        yield from permitted("key", action, lambda: parameters.key(self._clients, self._name, found), needed=True)

    def _table(self, found: GridParameter) -> Findings:
        its = Table(self._clients, found.table, Patience(lambda _: None))
        yield from permitted("table", f"dynamodb:DescribeTable on {its.name}", lambda: table.table(its))
        yield from permitted("expiry", f"dynamodb:DescribeTimeToLive on {its.name}", lambda: table.expiry(its))

    def _bucket(self, found: GridParameter) -> Findings:
        its = BucketSettings(self._clients, found.bucket)
        yield from permitted("bucket", f"s3:ListBucket on {its.name}", lambda: bucket.reachable(its), needed=True)
        for check, action, look in bucket.LOOKS:
            yield from permitted(check, f"{action} on {its.name}", partial(look, its))

    def _agents(self, found: GridParameter) -> Findings:
        action = f"dynamodb:Query on {found.table}"
        yield from permitted("agents", action, lambda: self._read_agents(found), needed=True)

    def _read_agents(self, found: GridParameter) -> Findings:
        alive = DynamoStore(lambda: self._clients.dynamodb, found.table).agents(SYSTEM_CLOCK.now())
        self._serving = {pool: sum(agent.pool == pool for agent in alive) for pool in found.queues}
        yield from agents.agents(found.queues, alive)

    def _queues(self, found: GridParameter) -> Findings:
        for pool in found.queues:
            action = f"sqs:GetQueueAttributes on the queues of pool {pool!r}"
            yield from permitted("queues", action, partial(self._pool, found, pool), needed=True)

    def _pool(self, found: GridParameter, pool: str) -> Findings:
        state = queues.PoolState.read(self._clients, pool, found.queues[pool])
        yield from queues.queues(state, found.defaults.lease_seconds)
        yield from queues.backlog(state, None if self._serving is None else self._serving[pool])
        yield from queues.dead_letters(state)

    def _parameter_store(self, found: GridParameter) -> Findings:
        agents = found.defaults.agents * len(found.queues)
        action = f"ssm:GetServiceSetting on servicesetting{quotas.HIGH_THROUGHPUT}"
        yield from permitted("parameter store", action, lambda: quotas.parameter_store(self._clients, agents))

    def _cluster(self, found: GridParameter) -> Findings:
        if self._without_cluster:
            yield ok("cluster", f"not looked at: {self._without_cluster}")
            return
        try:
            from htcgrid_core.cloud.doctor.cluster import ClusterSide
            from htcgrid_core.cloud.fleet import is_known
        except ModuleNotFoundError as error:
            if not (missing := what_is_missing(error)):
                raise
            yield ok("cluster", f"not looked at: that {missing}")
            return
        if self._context is None and not is_known():
            yield ok("cluster", "not looked at: this machine has no kubeconfig")
            return
        side = ClusterSide(self._name, found, self._context, self._namespace)
        yield from side.look(self._serving or {})
        yield from quotas.cores(self._clients, side.cores)
