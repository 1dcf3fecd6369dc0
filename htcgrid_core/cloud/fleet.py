"""The fleet: what the cluster says of a grid's pods, beside what the grid says of its agents and its work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from htcgrid_core.adapters.kubernetes import logs
from htcgrid_core.adapters.kubernetes.cluster import Cluster, is_configured
from htcgrid_core.adapters.kubernetes.logs import Line as Line
from htcgrid_core.adapters.kubernetes.names import of_grid
from htcgrid_core.adapters.kubernetes.pods import Pod, Scaling, pod_of, scaling_of, warnings_of
from htcgrid_core.cloud.address import Address
from htcgrid_core.cloud.plane import CloudPlane
from htcgrid_core.domain.agent import AgentRecord
from htcgrid_core.domain.demand import Demand
from htcgrid_core.domain.errors import GridError, UnknownGrid
from htcgrid_core.services.measure import measure

_ELSEWHERE = "--context and --namespace name another place"


@dataclass(frozen=True, slots=True)
class InCluster:
    """What a cluster has of a grid.

    Attributes:
        scaling: of each pool that has a Deployment, by its name.
    """

    pods: tuple[Pod, ...]
    scaling: dict[str, Scaling]


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool.

    Attributes:
        scaling: None where the cluster has no Deployment of it.
        agents: that the grid heard of within a lease, wherever they run.
        tasks: that have not ended.
        slots_wanted: that could usefully be had now.
    """

    name: str
    pods: tuple[Pod, ...]
    scaling: Scaling | None
    agents: tuple[AgentRecord, ...]
    tasks: int
    slots_wanted: int

    def counted(self, state: str) -> int:
        """Pods in a state."""
        return sum(pod.state == state for pod in self.pods)

    @property
    def slots(self) -> int:
        """Tasks that its agents can run at once."""
        return sum(agent.slots for agent in self.agents)

    @property
    def busy(self) -> int:
        """Of these, as of their last heartbeats, those that do."""
        return sum(agent.busy for agent in self.agents)

    @property
    def restarts(self) -> int:
        """Of all its pods' agents."""
        return sum(pod.restarts for pod in self.pods)

    @property
    def out_of_memory(self) -> int:
        """Pods whose agent ended so the last time."""
        return sum(pod.out_of_memory for pod in self.pods)

    @property
    def versions(self) -> dict[str, int]:
        """Pods by their image's tag or digest, most first."""
        return dict(Counter(pod.version for pod in self.pods).most_common())

    @property
    def waiting(self) -> dict[str, int]:
        """Pods that are not ready by what Kubernetes says of them, most first."""
        return dict(Counter(pod.why for pod in self.pods if pod.why).most_common())

    def with_agents(self) -> list[tuple[Pod, AgentRecord | None]]:
        """Its pods, each with the agent that runs in it, if the grid has heard of it."""
        by_host = {agent.host: agent for agent in self.agents}
        return [(pod, by_host.get(pod.host)) for pod in self.pods]


def opened(context: str | None, namespace: str | None) -> Cluster:
    """The cluster that this machine knows; see ``Cluster.open``."""
    return Cluster.open(context, namespace)


def is_known() -> bool:
    """Whether this machine knows one."""
    return is_configured()


def place(cluster: Cluster) -> str:
    """Where one looks."""
    return f"{cluster.where}, namespace {cluster.namespace}"


def in_cluster(cluster: Cluster, grid: str) -> InCluster:
    """Read all that a cluster has of a grid: five lists, and one more where a pod is not ready.

    Raises:
        AccessDenied, GridUnavailable: the cluster cannot be read.
    """
    selector = of_grid(grid)
    found = cluster.pods(selector).items
    pods = [pod_of(each) for each in found]
    if any(pod.state in ("pending", "starting") and not pod.why for pod in pods):
        said = warnings_of(cluster.warnings().items)
        pods = [pod_of(each, said) for each in found]
    keda = cluster.scaled_objects(selector)
    autoscalers = cluster.autoscalers().items
    deployments = cluster.deployments(selector).items
    scalings = [scaling_of(each, autoscalers, keda.items if keda else None) for each in deployments]
    return InCluster(tuple(sorted(pods, key=lambda pod: pod.name)), {each.pool: each for each in scalings})


def pools_of(
    found: InCluster, known: Iterable[str], agents: Sequence[AgentRecord], demand: Sequence[Demand]
) -> list[Pool]:
    """Each pool of the grid, and what is in the cluster or serves beside.

    Args:
        known: pools that the grid's parameter names.
    """
    found_names = (*found.scaling, *(pod.pool for pod in found.pods), *(agent.pool for agent in agents))
    names = dict.fromkeys([*known, *found_names])
    return [
        Pool(
            name,
            tuple(pod for pod in found.pods if pod.pool == name),
            found.scaling.get(name),
            tuple(agent for agent in agents if agent.pool == name),
            sum(each.tasks for each in demand if each.pool == name),
            sum(each.slots_wanted for each in demand if each.pool == name),
        )
        for name in names
    ]


def pools(cloud: CloudPlane, address: Address, context: str | None, namespace: str | None) -> list[Pool]:
    """Each pool of a grid, in the cluster and by its own account.

    Args:
        context: of the kubeconfig; see ``Cluster.open``.

    Raises:
        UnknownGrid: the cluster has no agents of it there.
        InvalidInput: no cluster is configured on this machine.
        AccessDenied, GridUnavailable: it cannot be read.
    """
    cluster = opened(context, namespace)
    found, plane = in_cluster(cluster, address.name), cloud.plane
    if not found.scaling and not found.pods:
        raise UnknownGrid(f"{place(cluster)}, has no agents of grid {address.name!r}: {_ELSEWHERE}")
    agents = plane.store.agents(plane.clock.now())
    return pools_of(found, cloud.parameter.queues, agents, measure(plane).demand)


@dataclass(frozen=True, slots=True)
class PoolLogs:
    """The logs of a pool's agents.

    Attributes:
        pods: whose logs are read.
        total: pods that there are.
    """

    cluster: Cluster
    pods: list[str]
    total: int

    def lines(self, without: Callable[[str, GridError], None], **options: Any) -> Iterator[Line]:
        """Pod by pod; see ``logs.read``."""
        return logs.read(self.cluster, self.pods, without, **options)


def pool_logs(address: Address, pool: str, context: str | None, namespace: str | None, most: int) -> PoolLogs:
    """The logs of up to ``most`` pods: of those that are not well first.

    Raises:
        UnknownGrid: there are no such pods; else as for ``pools``.
    """
    cluster = opened(context, namespace)
    found, total = logs.some_pods(cluster, of_grid(address.name, pool), most)
    if not total:
        raise UnknownGrid(f"{place(cluster)}, has no pods of pool {pool!r} of grid {address.name!r}: {_ELSEWHERE}")
    return PoolLogs(cluster, found, total)


def followed_logs(
    address: Address, pool: str, context: str | None, namespace: str | None, most: int, tail: int
) -> Iterator[Line]:
    """What the agents of a pool log from now on, after ``tail`` lines of each; without an end, and pods may come."""
    cluster = opened(context, namespace)
    return logs.Follower(cluster, of_grid(address.name, pool), most, tail).lines()
