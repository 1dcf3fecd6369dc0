"""What an agent tells its cluster: that it is busy, with hysteresis, and never more often than once a minute."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from htcgrid_core.adapters.kubernetes.names import DELETION_COST
from htcgrid_core.adapters.kubernetes.own_pod import OwnPod
from htcgrid_core.agent.deletion_cost import EVERY_SECONDS, SLOW_SECONDS, DeletionCost
from htcgrid_core.cli.main import cli
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput
from tests.fleet.api_server import Cluster, Refusal, Server
from tests.fleet.objects import pod
from tests.planes import ManualClock

LOOK_SECONDS = 5.0
NAME = "htcgrid/p"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service account's folder; its certificate is the server's own."""
    folder = tmp_path_factory.mktemp("account")
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-keyout", "key.pem", "-out", "ca.crt", "-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1",
    ]  # fmt: skip
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (folder / "server.pem").write_text((folder / "key.pem").read_text() + (folder / "ca.crt").read_text())
    (folder / "token").write_text("secret-token\n")
    return folder


@pytest.fixture
def inside(account: Path) -> Iterator[tuple[Cluster, OwnPod]]:
    """A cluster, and the pod in it that this process is."""
    cluster = Cluster()
    server = Server(cluster, account / "server.pem")
    cluster.put("pods", pod("p"))
    where = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
    yield cluster, OwnPod(NAME, where, account)
    server.close()


def written(cluster: Cluster) -> str | None:
    found: str | None = cluster.objects["pods"]["p"]["metadata"].get("annotations", {}).get(DELETION_COST)
    return found


def test_it_is_written_and_nothing_else_is_changed(inside: tuple[Cluster, OwnPod]) -> None:
    cluster, own = inside
    cluster.objects["pods"]["p"]["metadata"]["annotations"] = {"a": "b"}
    own.tell_deletion_cost(7)
    metadata = cluster.objects["pods"]["p"]["metadata"]
    assert metadata["annotations"] == {"a": "b", DELETION_COST: "7"}
    assert metadata["labels"] == pod("p")["metadata"]["labels"]


@pytest.mark.parametrize(("status", "text"), [(403, "no"), (409, "modified"), (429, "too many"), (500, "etcd")])
def test_what_the_cluster_refuses(inside: tuple[Cluster, OwnPod], status: int, text: str) -> None:
    """It is asked once."""
    cluster, own = inside
    cluster.refusals.append(Refusal(status, 1000, text, {"Retry-After": "0"}))
    with pytest.raises(GridUnavailable, match=f"pod htcgrid/p: {status} {text}"):
        own.tell_deletion_cost(7)
    assert len(cluster.calls) == 1


def test_a_pod_that_is_gone(inside: tuple[Cluster, OwnPod]) -> None:
    cluster, own = inside
    cluster.remove("pods", "p")
    with pytest.raises(GridUnavailable, match="404"):
        own.tell_deletion_cost(7)


def test_a_server_that_is_not_the_clusters(inside: tuple[Cluster, OwnPod], tmp_path: Path) -> None:
    """Its certificate says who it is: the token is not shown to another one."""
    cluster, own = inside
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "k",
        "-out",
        "ca.crt",
        "-subj",
        "/CN=x",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "token").write_text("secret-token")
    own._account = tmp_path
    with pytest.raises(GridUnavailable, match="cannot be reached"):
        own.tell_deletion_cost(7)
    assert cluster.calls == []


@pytest.mark.parametrize("name", ["p", "/p", "htcgrid/", "htcgrid/../p", "htcgrid/p/log", "htcgrid/P"])
def test_a_name_that_is_none(name: str, account: Path) -> None:
    with pytest.raises(InvalidInput, match="NAMESPACE/NAME"):
        OwnPod(name, {"KUBERNETES_SERVICE_HOST": "127.0.0.1"}, account)


def test_outside_of_a_cluster(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="this process is in no pod"):
        OwnPod(NAME, {}, tmp_path)


def test_a_day_of_an_agent(inside: tuple[Cluster, OwnPod], clock: ManualClock) -> None:
    """Its load jumps about. Between any two calls lies a minute, what is written follows the load, and idle is told."""
    cluster, own = inside
    rng, busy, at = Random(7), 0, list[float]()

    def tell(cost: int) -> None:
        at.append(clock.monotonic())
        own.tell_deletion_cost(cost)

    cost = DeletionCost(32, lambda: busy, tell, clock)
    for look in range(2000):
        if look % 10 == 0:
            busy = rng.choice((0, 1, 16, 30, 31, 32))
        cost.look()
        clock.sleep(LOOK_SECONDS)
    assert min(b - a for a, b in pairwise(at)) >= EVERY_SECONDS
    assert 10 < len(at) <= 2000 * LOOK_SECONDS / EVERY_SECONDS
    assert len(cluster.made("PATCH", "pods")) == len(at)
    busy = 0
    clock.sleep(EVERY_SECONDS)
    cost.look()
    assert written(cluster) == "0"


def test_small_changes_are_not_told(clock: ManualClock) -> None:
    told, loads = list[int](), [16, 17, 20, 23, 9, 24, 17, 16, 1, 0, 1]
    left = list(loads)
    cost = DeletionCost(32, lambda: left.pop(0), told.append, clock)
    for _ in loads:
        cost.look()
        clock.sleep(EVERY_SECONDS)
    assert told == [16, 24, 16, 1, 0, 1]


def test_who_is_refused_asks_less_often_and_says_so_once(
    inside: tuple[Cluster, OwnPod], clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    cluster, own = inside
    cluster.forbidden.add("patch pods")
    cost = DeletionCost(4, lambda: 2, own.tell_deletion_cost, clock)
    for _ in range(int(3 * SLOW_SECONDS / LOOK_SECONDS)):
        cost.look()
        clock.sleep(LOOK_SECONDS)
    assert len(cluster.made("PATCH", "pods")) == 3
    assert [record.message for record in caplog.records if "how busy" in record.message] == [
        'the cluster is not told how busy this pod is: pod htcgrid/p: 403 pods is forbidden: User "desk" cannot patch '
        'resource "pods" in the namespace'
    ]
    cluster.forbidden.clear()
    clock.sleep(SLOW_SECONDS)
    cost.look()
    assert written(cluster) == "2"


def test_agents_of_an_embedded_grid_are_in_no_pod() -> None:
    ran = CliRunner().invoke(cli, ["agent", "--url", "local://", "--pod", NAME])
    assert (ran.exit_code, "in no pod" in ran.stderr) == (2, True)
