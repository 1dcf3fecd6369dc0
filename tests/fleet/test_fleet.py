"""The fleet of a grid: the cluster's account of its pods, beside the grid's of its agents and its work."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner, Result

from htcgrid_core import connect
from htcgrid_core.adapters.kubernetes.cluster import Cluster
from htcgrid_core.adapters.kubernetes.pods import version_of
from htcgrid_core.cli.main import cli
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.fleet import Pool, in_cluster, pools_of
from htcgrid_core.cloud.plane import open_cloud
from htcgrid_core.domain.agent import AgentRecord
from tests.aws.conftest import aws_cloud as aws_cloud
from tests.aws.grids import CloudUnderTest
from tests.fleet import api_server
from tests.fleet.objects import (
    GRID,
    NO_ROOM,
    crashed,
    deployment,
    pending,
    pod,
    scaled_object,
    scaler,
    warning,
)

PULL = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "example.com/agent:2"'}}


def pool_of(cluster: api_server.Cluster, name: str = "default", *agents: AgentRecord) -> Pool:
    (found,) = (pool for pool in pools_of(in_cluster(Cluster.open(), GRID), [name], agents, ()) if pool.name == name)
    return found


def agent(host: str, pool: str = "default", busy: int = 3) -> AgentRecord:
    return AgentRecord(f"{host}-1a2b3c", pool, host, 7, 4, busy, 1000.0)


def test_states_of_pods(cluster: api_server.Cluster) -> None:
    leaving = pod("leaving")
    leaving["metadata"]["deletionTimestamp"] = "2026-11-29T12:00:30Z"
    evicted = pod("evicted", phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    starting: dict[str, Any] = {"conditions": [{"type": "Ready", "status": "False"}]}
    its = {"name": "agent", "restartCount": 0, "state": PULL}
    for found in (
        pod("ready", image="example.com/htcgrid/agent:1"), leaving, evicted, pending("pending"),
        pod("pulling", **starting, containerStatuses=[its]), crashed("killed", "OOMKilled", 137, 5),
    ):  # fmt: skip
        cluster.put("pods", found)
    pool = pool_of(cluster)
    assert {each.name: each.state for each in pool.pods} == {
        "evicted": "failed", "killed": "starting", "leaving": "leaving", "pending": "pending", "pulling": "starting",
        "ready": "ready",
    }  # fmt: skip
    why = {each.name: each.why for each in pool.pods}
    assert why["ready"] == why["leaving"] == ""
    assert why["pending"] == NO_ROOM
    assert why["pulling"] == 'ImagePullBackOff: Back-off pulling image "example.com/agent:2"'
    assert why["killed"].startswith("CrashLoopBackOff: ")
    assert why["killed"].endswith("it ended last by OOMKilled with code 137")
    assert why["evicted"] == "Evicted: The node was low on resource: memory."
    assert (pool.restarts, pool.out_of_memory) == (5, 1)
    assert pool.versions == {"1": 6}
    assert cluster.made("GET", "events") == [], "all of them said why"


def test_why_is_asked_of_events_where_a_pod_does_not_say(cluster: api_server.Cluster) -> None:
    """Karpenter's reasons are there."""
    cluster.put("pods", pending("p", why=""))
    old, new = "2026-11-29T12:00:00Z", "2026-11-29T12:05:00Z"
    cluster.put("events", warning("e1", "p", "FailedScheduling", "no nodepool has room", new))
    cluster.put("events", warning("e2", "p", "FailedScheduling", "something before", old))
    cluster.put("events", {**warning("e3", "p", "Pulled", "fine", "2026-11-29T13:00:00Z"), "type": "Normal"})
    assert pool_of(cluster).waiting == {"FailedScheduling: no nodepool has room": 1}


def test_who_scales(cluster: api_server.Cluster) -> None:
    for pool, replicas in (("default", 20), ("big", 3), ("fixed", 2)):
        cluster.put("deployments", deployment(pool, replicas))
    cluster.put("deployments", deployment("default2", 7, grid="other"))
    limited = {"ScalingLimited": ("True", "the desired replica count is more than the maximum replica count")}
    cluster.put("horizontalpodautoscalers", scaler("default", 20, 20, **limited, AbleToScale=("True", "fine")))
    cluster.put("horizontalpodautoscalers", scaler("big", 3, ScalingActive=("False", "unable to get external metric")))
    cluster.put(
        "scaledobjects", scaled_object("default", 20, Fallback=("True", "At least one trigger is falling back"))
    )
    found = in_cluster(Cluster.open(), GRID).scaling
    assert set(found) == {"default", "big", "fixed"}
    default = found["default"]
    assert (default.by, default.asked, default.wanted, default.least, default.most) == ("keda", 20, 20, 0, 20)
    assert default.wrong == (
        "Fallback is True: At least one trigger is falling back",
        "ScalingLimited is True: the desired replica count is more than the maximum replica count",
    )
    assert (found["big"].by, found["big"].wrong) == (
        "hpa",
        ("ScalingActive is False: unable to get external metric",),
    )
    assert (found["fixed"].by, found["fixed"].wanted, found["fixed"].wrong) == ("nobody", None, ())


def test_agents_and_their_pods(cluster: api_server.Cluster) -> None:
    """A host's name is cut where a pod's is not; and agents that are in no pod serve, too."""
    name = "htcgrid-" + "long-" * 12 + "abcde"
    cluster.put("pods", pod(name))
    cluster.put("pods", pod("silent"))
    pool = pool_of(cluster, "default", agent(name[:63]), agent("elsewhere"), agent("other", "big"))
    assert [(pod.name, on.host if on else None) for pod, on in pool.with_agents()] == [
        (name, name[:63]),
        ("silent", None),
    ]
    assert (pool.slots, pool.busy, len(pool.agents)) == (8, 6, 2)


def test_versions_of_images() -> None:
    assert version_of("registry:5000/htcgrid/agent:1.2") == "1.2"
    assert version_of("registry:5000/htcgrid/agent") == ""
    assert version_of("example.com/agent:1@sha256:0123456789abcdef") == "sha256:0123456789ab"


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "300"}).invoke(cli, ["fleet", *arguments])


@pytest.fixture
def fleet(cluster: api_server.Cluster, aws_cloud: CloudUnderTest) -> str:
    """A grid's URL: pool ``default`` has a pod that works, one that waits and one that was killed; ``big`` has none."""
    cloud = open_cloud(parse_aws(aws_cloud.url))
    now = cloud.plane.clock.now()
    beat = AgentRecord(
        "a-1", "default", "htcgrid-default-a", 7, 4, 3, now,
        started_at=now - 7500, memory_bytes=412 << 20, memory_limit_bytes=2 << 30,
    )  # fmt: skip
    cloud.plane.store.beat(beat)
    cloud.close()
    with connect(aws_cloud.url) as grid:
        grid.submit("tests.e2e.handlers.double", range(100))
    cluster.put("deployments", deployment("default", 3))
    cluster.put("horizontalpodautoscalers", scaler("default", 25, 25, ScalingLimited=("True", "more than the maximum")))
    cluster.put("scaledobjects", scaled_object("default", 25))
    busy = pod("htcgrid-default-a")
    busy["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": "3"}
    for found in (busy, pending("htcgrid-default-b"), crashed("htcgrid-default-c", "OOMKilled", 137, 2)):
        cluster.put("pods", found)
    cluster.say("htcgrid-default-a", *(f'{{"event": "line {number}"}}' for number in range(300)))
    cluster.say("htcgrid-default-c", "\x1b[31mbad news")
    return aws_cloud.url


def test_the_command(cluster: api_server.Cluster, fleet: str) -> None:
    ran = run("--url", fleet)
    assert ran.exit_code == 0, ran.output
    heading, _, default, big, *reasons = ran.stdout.splitlines()
    assert heading.split()[:4] == ["pool", "wanted", "asked", "ready"]
    numbers = ["25", "3", "1", "1", "1", "3", "of", "4", "100", "100", "2", "1"]
    assert default.split()[: 1 + len(numbers)] == ["default", *numbers]
    assert "no Deployment" in big
    assert reasons[0] == "pool default is not scaled as it should be: ScalingLimited is True: more than the maximum"
    assert f"pool default, 1 not ready: {NO_ROOM}" in reasons
    assert any("OOMKilled" in reason for reason in reasons)
    assert len(cluster.calls) == 4, "one list each of pods, scaled objects, autoscalers and deployments"


def test_for_programs(fleet: str) -> None:
    ran = run("--url", fleet, "--json", "--pods")
    views: list[dict[str, Any]] = [json.loads(line) for line in ran.stdout.splitlines()]
    (default, a, b, c, big) = views
    assert {name: default[name] for name in ("pool", "scaled_by", "wanted", "asked", "most", "pods", "tasks")} == {
        "pool": "default", "scaled_by": "keda", "wanted": 25, "asked": 3, "most": 25, "pods": 3, "tasks": 100,
    }  # fmt: skip
    assert (default["busy"], default["slots"], default["slots_wanted"], default["out_of_memory"]) == (3, 4, 100, 1)
    assert default["waiting"][NO_ROOM] == 1
    assert (a["agent"], a["busy"], a["deletion_cost"], a["state"]) == ("a-1", 3, 3, "ready")
    assert (a["memory_bytes"], a["memory_limit_bytes"]) == (412 << 20, 2 << 30)
    assert a["started_at"] > 0
    assert (b["memory_bytes"], b["memory_limit_bytes"], b["started_at"]) == (None, None, None)
    assert (b["agent"], b["state"], b["why"]) == (None, "pending", NO_ROOM)
    assert (c["restarts"], c["out_of_memory"]) == (2, True)
    assert (big["pool"], big["scaled_by"], big["pods"]) == ("big", None, 0)
    people = run("--url", fleet, "--pods")
    assert "htcgrid-default-a  ready" in people.stdout
    assert "3 of 4" in people.stdout
    assert re.search(r"412 MiB of 2\.0 GiB +2 h 0\d m", people.stdout)


def test_logs(fleet: str) -> None:
    """Who is not well comes first; nothing that a terminal would obey."""
    ran = run("logs", "default", "--url", fleet, "--tail", "2")
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.splitlines() == [
        "htcgrid-default-c  \\x1b[31mbad news",
        'htcgrid-default-a  {"event": "line 298"}',
        'htcgrid-default-a  {"event": "line 299"}',
    ]
    one = run("logs", "default", "--url", fleet, "--most", "1", "--json")
    assert [json.loads(line)["pod"] for line in one.stdout.splitlines()] == ["htcgrid-default-c"]
    assert "1 of 3 pods" in one.stderr


def test_a_pod_without_a_log_does_not_hide_the_others(cluster: api_server.Cluster, fleet: str) -> None:
    """One waits to begin, and of two only one has ended before; where none has a log, that is an error."""
    its = {"name": "agent", "restartCount": 0, "state": PULL}
    cluster.put("pods", pod("pulling", conditions=[{"type": "Ready", "status": "False"}], containerStatuses=[its]))
    ran = run("logs", "default", "--url", fleet, "--tail", "1")
    assert ran.exit_code == 0, ran.output
    assert len(ran.stdout.splitlines()) == 2
    assert "pulling has no log to show: " in ran.stderr
    assert '400 container "agent" in pod "pulling" is waiting to start' in ran.stderr
    before = ("logs", "default", "--url", fleet, "--previous")
    ran = run(*before)
    assert (ran.exit_code, "never ended" in ran.stderr) == (3, True), ran.output
    cluster.previous["htcgrid-default-c"] = ["out of memory"]
    ran = run(*before)
    assert (ran.exit_code, ran.stdout) == (0, "htcgrid-default-c  out of memory\n"), ran.output


def test_what_cannot_be_shown(cluster: api_server.Cluster, fleet: str) -> None:
    for arguments, code, said in (
        (("--url", fleet, "--context", "other"), 2, "namespace elsewhere, has no agents of grid 'book'"),
        (("--url", fleet, "--context", "none"), 2, "no context 'none'"),
        (("logs", "huge", "--url", fleet), 2, "no pods of pool 'huge'"),
        (("--pods", "logs", "default"), 2, "options come after 'logs'"),
        (("logs", "default", "--url", fleet, "--follow", "--previous"), 2, "--follow goes on"),
        (("--url", "local://"), 2, "only grids on AWS"),
        (("logs", "default"), 2, "only grids on AWS"),
    ):
        ran = run(*arguments)
        assert (ran.exit_code, said in ran.stderr) == (code, True), (arguments, ran.output)
    cluster.forbidden.add("deployments")
    ran = run("--url", fleet)
    assert (ran.exit_code, "list deployments: 403" in ran.stderr) == (3, True), ran.output
