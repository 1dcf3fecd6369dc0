"""The cluster's side: whether each pool can have its pods, and what keeps it from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from htcgrid_core.adapters.aws.parameter import GridParameter
from htcgrid_core.cloud.fleet import Pool, in_cluster, opened, place, pools_of
from htcgrid_core.domain.errors import GridError
from htcgrid_core.local.doctor.finding import Findings, ok, problem, warning

REASONS = 3  # for which pods are not ready, of each pool
VIEW = "its role `view` is enough, and scaledobjects.keda.sh; --context and --namespace name another place"


@dataclass
class ClusterSide:
    """A look at the cluster that this machine knows.

    Attributes:
        cores: that all pods together ask for when each pool is at its largest; 0 if that is not known.
    """

    grid: str
    parameter: GridParameter
    context: str | None
    namespace: str | None
    cores: float = 0.0

    def look(self, serving: Mapping[str, int]) -> Findings:
        """All of it.

        Args:
            serving: agents of each pool that the grid has heard of.
        """
        try:
            cluster = opened(self.context, self.namespace)
            found = in_cluster(cluster, self.grid)
        except GridError as error:
            yield warning("cluster", f"not looked at: {error}", VIEW)
            return
        if not found.pods and not found.scaling:
            yield ok("cluster", f"{place(cluster)} has no agents of this grid")
            return
        yield ok("cluster", place(cluster))
        self.cores = sum(each.most * each.cores for each in found.scaling.values())
        for pool in pools_of(found, self.parameter.queues, (), ()):
            yield from self._deployed(pool, serving.get(pool.name, 0))
            yield from _pods(pool)

    def _deployed(self, pool: Pool, agents: int) -> Findings:
        scaling = pool.scaling
        if pool.name not in self.parameter.queues:
            text = f"pool {pool.name!r} is deployed, and the grid's parameter does not name it: its agents end at once"
            yield problem("scaling", text, "add it to Terraform's pools, or take it from the chart's")
        elif scaling is None:
            if not agents:
                text = f"pool {pool.name} has no Deployment here, and no agents elsewhere: its sessions wait"
                yield warning("scaling", text, "add it to the chart's pools")
        else:
            yield from _scaling(pool.name, scaling.wrong)
            if scaling.by != "nobody" and scaling.most != self.parameter.defaults.agents:
                text = f"pool {pool.name} may have {scaling.most:,} pods, and sessions are cut for "
                advice = "give the chart's scaling.maxReplicas and Terraform's agents the same number"
                yield warning("scaling", f"{text}{self.parameter.defaults.agents:,} agents", advice)
            elif not scaling.wrong:
                yield ok("scaling", f"pool {pool.name} by {scaling.by}: {scaling.asked:,} of {scaling.most:,} pods")


def _scaling(pool: str, wrong: tuple[str, ...]) -> Findings:
    for text in wrong:
        yield warning(
            "scaling", f"pool {pool}: {text}", "mend what it says; until then the pool does not follow its work"
        )


def _pods(pool: Pool) -> Findings:
    for text, count in list(pool.waiting.items())[:REASONS]:
        advice = "`htcgrid fleet` shows them, `htcgrid fleet logs` what their agents say"
        yield warning("pods", f"pool {pool.name}: {count:,} not ready: {text}", advice)
    if pool.out_of_memory:
        text = f"pool {pool.name}: the agent was ended for memory in {pool.out_of_memory:,} pods"
        yield warning("memory", text, "give the pool more memory, or fewer slots")
    if pool.pods and not pool.waiting and not pool.out_of_memory:
        versions = ", ".join(pool.versions)
        yield ok("pods", f"pool {pool.name}: {pool.counted('ready'):,} of {len(pool.pods):,} ready, version {versions}")
