"""What the doctor sees of the cluster's side, and of the quotas that bind a fleet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import botocore.exceptions
import pytest

from htcgrid_core.adapters.aws.parameter import Defaults, GridParameter, PoolQueues
from htcgrid_core.cloud.doctor import quotas
from htcgrid_core.cloud.doctor.cluster import ClusterSide
from htcgrid_core.local.doctor.finding import Finding, Verdict
from tests.fleet.api_server import Cluster, Object
from tests.fleet.objects import GRID, NO_ROOM, crashed, deployment, pending, pod, scaled_object, scaler

QUEUES = PoolQueues(high="h", normal="n", low="l", dead="d")


def side(*pools: str, agents: int = 20, **where: Any) -> ClusterSide:
    queues = dict.fromkeys(pools or ("default",), QUEUES)
    parameter = GridParameter(table="t", bucket="b", queues=queues, key="k", defaults=Defaults(agents=agents))
    return ClusterSide(GRID, parameter, where.get("context"), where.get("namespace"))


def looked(found: ClusterSide, **serving: int) -> list[tuple[str, str, str]]:
    findings: list[Finding] = list(found.look(serving))
    assert all(each.advice for each in findings if each.verdict is not Verdict.OK)
    return [(each.check, str(each.verdict), each.message) for each in findings]


def deployed(pool: str, replicas: int, cpu: str) -> Object:
    found = deployment(pool, replicas)
    containers = [{"name": "agent", "resources": {"requests": {"cpu": cpu}}}]
    found["spec"]["template"] = {"spec": {"containers": containers}}
    return found


@pytest.fixture
def well(cluster: Cluster) -> Cluster:
    """A pool of two pods that lacks nothing."""
    cluster.put("deployments", deployed("default", 2, "4"))
    cluster.put("horizontalpodautoscalers", scaler("default", 2, 20))
    cluster.put("scaledobjects", scaled_object("default", 20, Ready=("True", "fine")))
    for name in ("a", "b"):
        cluster.put("pods", pod(name))
    return cluster


def test_all_is_well(well: Cluster) -> None:
    found = side()
    assert looked(found) == [
        ("cluster", "ok", "context desk, namespace htcgrid"),
        ("scaling", "ok", "pool default by keda: 2 of 20 pods"),
        ("pods", "ok", "pool default: 2 of 2 ready, version 1"),
    ]
    assert found.cores == 80.0


def test_all_that_can_be_wrong(well: Cluster) -> None:
    well.put("scaledobjects", scaled_object("default", 25, Ready=("False", "ScaledObject is not ready")))
    well.put("deployments", deployed("stranger", 1, "500m"))
    well.put("pods", pending("c"))
    well.put("pods", crashed("d", "OOMKilled", 137, 2))
    found = side("default", "big", "elsewhere")
    findings = looked(found, elsewhere=3)
    assert ("scaling", "warning", "pool default: Ready is False: ScaledObject is not ready") in findings
    assert ("scaling", "warning", "pool default may have 25 pods, and sessions are cut for 20 agents") in findings
    assert (
        "scaling",
        "warning",
        "pool big has no Deployment here, and no agents elsewhere: its sessions wait",
    ) in findings
    assert ("pods", "warning", f"pool default: 1 not ready: {NO_ROOM}") in findings
    assert ("memory", "warning", "pool default: the agent was ended for memory in 1 pods") in findings
    (problem,) = [message for _, verdict, message in findings if verdict == "problem"]
    assert problem.startswith("pool 'stranger' is deployed, and the grid's parameter does not name it")
    assert not any("elsewhere" in message and "pool elsewhere" in message for _, _, message in findings)
    assert found.cores == 25 * 4 + 0.5


def test_what_cannot_be_looked_at(well: Cluster) -> None:
    assert looked(side(namespace="other")) == [
        ("cluster", "ok", "context desk, namespace other has no agents of this grid")
    ]
    assert looked(side(context="none"))[0][:2] == ("cluster", "warning")
    well.forbidden.add("pods")
    ((check, verdict, message),) = looked(side())
    assert (check, verdict) == ("cluster", "warning")
    assert "list pods: 403" in message


def clients(**answers: Any) -> Any:
    """Of an account whose quotas are these, by code; an exception is raised."""

    def get_service_quota(**asked: str) -> Any:
        assert asked.pop("ServiceCode") == "ec2"
        answer = answers[asked.pop("QuotaCode").replace("-", "_")]
        if isinstance(answer, Exception):
            raise answer
        return {"Quota": {"Value": answer}}

    def get_service_setting(**asked: str) -> Any:
        assert asked == {"SettingId": quotas.HIGH_THROUGHPUT}
        return {"ServiceSetting": {"SettingValue": answers["high_throughput"]}}

    service = SimpleNamespace(get_service_quota=get_service_quota)
    ssm = SimpleNamespace(get_service_setting=get_service_setting)
    return SimpleNamespace(region="eu-west-1", ssm=ssm, of=lambda *_: service)


def denied(code: str) -> Exception:
    return botocore.exceptions.ClientError({"Error": {"Code": code, "Message": "no"}}, "GetServiceQuota")


@pytest.mark.parametrize(
    ("needed", "spot", "verdict", "said"),
    [
        (0, 1, None, ""),
        (80, 64.0, "ok", "80 at most; quotas are 16 on demand and 64 spot"),
        (100_000, 64.0, "warning", "100,000 at most; quotas are 16 on demand and 64 spot"),
        (80, denied("AccessDeniedException"), "warning", "not looked at: "),
        (80, denied("InternalFailure"), "ok", "not looked at: "),
    ],
)
def test_vcpus(needed: float, spot: Any, verdict: str | None, said: str) -> None:
    findings = list(quotas.cores(clients(L_1216C47A=16.0, L_34B43A08=spot), needed))
    assert [str(each.verdict) for each in findings] == ([verdict] if verdict else [])
    assert all(each.message.startswith(said) for each in findings)


@pytest.mark.parametrize(
    ("high", "agents", "verdict", "said"),
    [
        ("true", 100_000, "ok", "higher throughput is on"),
        ("false", 3125, "ok", "3,125 agents that start at once read for 234 s, at 40 reads a second"),
        ("false", 12_500, "warning", "12,500 agents that start at once read for 938 s"),
    ],
)
def test_parameter_store(high: str, agents: int, verdict: str, said: str) -> None:
    (found,) = quotas.parameter_store(clients(high_throughput=high), agents)
    assert str(found.verdict) == verdict
    assert found.message.startswith(said)


def test_reads_of_a_start_are_those_that_were_counted() -> None:
    from tests.infra.calls import SSM_CALLS_OF_A_START

    assert quotas.READS_OF_A_START == SSM_CALLS_OF_A_START
