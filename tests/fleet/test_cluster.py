"""What is read of a cluster's API: pages, versions, watches, and what it refuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from htcgrid_core.adapters.kubernetes import cluster as module
from htcgrid_core.adapters.kubernetes.cluster import Cluster, TooOld, is_configured
from htcgrid_core.adapters.kubernetes.logs import Follower, Line
from htcgrid_core.adapters.kubernetes.names import of_grid
from htcgrid_core.domain.errors import AccessDenied, GridUnavailable, InvalidInput
from tests.fleet import api_server
from tests.fleet.api_server import Refusal, Server
from tests.fleet.conftest import configure
from tests.fleet.objects import GRID, crashed, pod

MANY = 1203


def names(pods: list[module.Object]) -> set[str]:
    return {each["metadata"]["name"] for each in pods}


def test_pages_of_500_pods_of_one_grid(cluster: api_server.Cluster) -> None:
    for number in range(MANY):
        cluster.put("pods", pod(f"p-{number:05d}"))
        if number % 3 == 0:
            cluster.put("pods", pod(f"q-{number:05d}", grid="other"))
    cluster.put("pods", {"metadata": {"name": "somebody-else", "labels": {"app": "web"}}})
    found = Cluster.open().pods(of_grid(GRID))
    assert names(found.items) == {f"p-{number:05d}" for number in range(MANY)}
    assert found.version == str(cluster.version)
    assert [call.query["limit"] for call in cluster.made("GET", "pods")] == ["500"] * 3


def test_pages_that_grow_old_are_read_again(cluster: api_server.Cluster) -> None:
    """The whole list: a part of one state and a part of another are none."""
    for number in range(MANY):
        cluster.put("pods", pod(f"p-{number:05d}"))

    def forget_once() -> None:
        cluster.between_pages = lambda: None
        cluster.remove("pods", "p-00000")
        cluster.forget()
        cluster.put("pods", pod("p-new"))

    cluster.between_pages = forget_once
    found = Cluster.open().pods(of_grid(GRID))
    assert names(found.items) == {"p-new", *(f"p-{number:05d}" for number in range(1, MANY))}
    assert len(cluster.made("GET", "pods")) == 1 + 1 + 3


def test_pages_that_always_grow_old(cluster: api_server.Cluster) -> None:
    for number in range(module.PAGE + 1):
        cluster.put("pods", pod(f"p-{number:05d}"))
    cluster.between_pages = cluster.forget
    with pytest.raises(GridUnavailable, match="grew old"):
        Cluster.open().pods(of_grid(GRID))


def test_it_is_patient_when_it_is_asked_to_be(cluster: api_server.Cluster) -> None:
    cluster.put("pods", pod("p"))
    cluster.refusals.append(Refusal(429, 2, headers={"Retry-After": "1"}))
    assert names(Cluster.open().pods(of_grid(GRID)).items) == {"p"}
    first, *_, last = [call.at for call in cluster.made("GET", "pods")]
    assert last - first >= 2.0


def test_throttled_for_good(cluster: api_server.Cluster) -> None:
    cluster.refusals.append(Refusal(429, 1000, "too many requests", {"Retry-After": "0"}))
    with pytest.raises(GridUnavailable, match="429 too many requests"):
        Cluster.open().pods(of_grid(GRID))
    assert len(cluster.calls) <= 6


@pytest.mark.parametrize("status", [401, 403])
def test_who_may_not(cluster: api_server.Cluster, status: int) -> None:
    """What, where, and what the cluster says; and no token."""
    cluster.refusals.append(Refusal(status, 1, 'pods is forbidden: User "desk" cannot list'))
    with pytest.raises(AccessDenied) as refused:
        Cluster.open().pods(of_grid(GRID))
    text = str(refused.value)
    assert text == f'context desk, namespace htcgrid, list pods: {status} pods is forbidden: User "desk" cannot list'


def test_a_cluster_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(api_server.Cluster())
    configure(server.url, tmp_path, monkeypatch)
    server.close()
    with pytest.raises(GridUnavailable, match="context desk cannot be reached to list pods"):
        Cluster.open().pods(of_grid(GRID))


def test_a_cluster_without_keda(cluster: api_server.Cluster) -> None:
    cluster.absent.add("scaledobjects")
    assert Cluster.open().scaled_objects(of_grid(GRID)) is None


def test_contexts_and_namespaces(cluster: api_server.Cluster) -> None:
    assert Cluster.open().namespace == "htcgrid"
    assert Cluster.open("other").namespace == "elsewhere"
    assert Cluster.open("other", "mine").namespace == "mine"
    with pytest.raises(InvalidInput, match="no context 'prod'; it has desk, other"):
        Cluster.open("prod")


def test_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert not is_configured()
    with pytest.raises(InvalidInput, match=r"no Kubernetes cluster is configured here.*update-kubeconfig"):
        Cluster.open()


@pytest.mark.parametrize(
    "text",
    [
        "", "a: [1, {", "- a", "current-context: desk",
        "{current-context: a, contexts: [{name: a, context: {cluster: c, user: u}}], clusters: [], users: []}",
        "{current-context: a, contexts: [{name: a, context: {cluster: c, user: u}}], users: [{name: u, user: {}}],"
        " clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1', certificate-authority-data: x}}]}",
    ],
)  # fmt: skip
def test_a_kubeconfig_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(InvalidInput, match="no Kubernetes cluster is configured here"):
        Cluster.open()


def test_a_watch_goes_on_and_ends(cluster: api_server.Cluster) -> None:
    """Of the selector's pods only, from the list's version on; its end has a version to go on from."""
    cluster.watch_seconds = 0.5
    found = Cluster.open()
    version = found.pods(of_grid(GRID)).version
    cluster.put("pods", pod("p"))
    cluster.put("pods", pod("other", grid="other"))
    cluster.remove("pods", "p")
    changes = list(found.changes(of_grid(GRID), version))
    assert [change.kind for change in changes] == ["ADDED", "DELETED", "BOOKMARK"]
    assert changes[-1].object["metadata"]["resourceVersion"] == str(cluster.version)


@pytest.mark.parametrize("as_status", [True, False])
def test_a_watch_that_has_forgotten(cluster: api_server.Cluster, as_status: bool) -> None:
    """It says so in its stream, or refuses at once."""
    version = Cluster.open().pods(of_grid(GRID)).version
    if as_status:
        cluster.refusals.append(Refusal(410, 1, "too old"))
    else:
        cluster.forget()
    with pytest.raises(TooOld):
        list(Cluster.open().changes(of_grid(GRID), version))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("htcgrid_core.adapters.kubernetes.logs.AGAIN_SECONDS", 0.05)


def taken(lines: Iterator[Line], count: int) -> list[Line]:
    return list(islice(lines, count))


def test_following_pods_that_come_and_go(cluster: api_server.Cluster, quick: None) -> None:
    """Watches end every half second, and one has forgotten: nothing is shown twice, nothing is missed."""
    cluster.watch_seconds = 0.5
    cluster.put("pods", pod("a"))
    cluster.say("a", "one", "two", "three")
    lines = Follower(Cluster.open(), of_grid(GRID), most=10, tail=2).lines()
    assert taken(lines, 2) == [Line("a", "two"), Line("a", "three")]
    cluster.forget()
    watches = [call for call in cluster.calls if "watch" in call.query]
    cluster.say("b", "hello")
    cluster.put("pods", pod("b"))
    assert taken(lines, 1) == [Line("b", "hello")]
    cluster.remove("pods", "a")
    cluster.say("b", "again")
    assert taken(lines, 1) == [Line("b", "again")]
    deadline = time.monotonic() + 30
    while len([call for call in cluster.calls if "watch" in call.query]) < len(watches) + 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    cluster.say("b", "last")
    assert taken(lines, 1) == [Line("b", "last")]


def test_a_place_is_given_to_a_pod_that_waits_for_one(cluster: api_server.Cluster, quick: None) -> None:
    """Nothing becomes of that pod when the one before it goes; who is not well has the first place."""
    cluster.put("pods", pod("a"))
    cluster.put("pods", crashed("b", "Error", 1, 3))
    cluster.say("a", "waits")
    cluster.say("b", "first")
    lines = Follower(Cluster.open(), of_grid(GRID), most=1, tail=2).lines()
    assert taken(lines, 1) == [Line("b", "first")]
    cluster.remove("pods", "b")
    assert taken(lines, 1) == [Line("a", "waits")]


def test_following_outlasts_a_lost_connection(cluster: api_server.Cluster, quick: None) -> None:
    """And a server that is away for a while, as when its node is replaced."""
    cluster.watch_seconds, cluster.cut = 0.2, 2
    cluster.put("pods", pod("a"))
    cluster.say("a", "one")
    lines = Follower(Cluster.open(), of_grid(GRID), most=10, tail=2).lines()
    assert taken(lines, 1) == [Line("a", "one")]
    cluster.refusals.append(Refusal(503, 8, "away", only="pods"))
    cluster.say("b", "two")
    cluster.put("pods", pod("b"))
    assert taken(lines, 1) == [Line("b", "two")]
    assert (cluster.cut, cluster.refusals[0].count) == (0, 0)


def test_following_ends_where_the_cluster_stays_away(
    cluster: api_server.Cluster, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("htcgrid_core.adapters.kubernetes.logs.LOST_SECONDS", 0.2)
    cluster.watch_seconds = 0.2
    cluster.put("pods", pod("a"))
    cluster.say("a", "one")
    lines = Follower(Cluster.open(), of_grid(GRID), most=10, tail=2).lines()
    assert taken(lines, 1) == [Line("a", "one")]
    cluster.refusals.append(Refusal(503, 10**6, "away", only="pods"))
    with pytest.raises(GridUnavailable, match="away"):
        next(lines)


def test_what_follows_the_pods_says_so_when_it_breaks(cluster: api_server.Cluster) -> None:
    """Else one would wait for lines without an end."""
    cluster.put("pods", {**pod("a"), "spec": {}})
    with pytest.raises(KeyError):
        next(Follower(Cluster.open(), of_grid(GRID), most=10, tail=2).lines())


def test_following_what_may_not_be_read(cluster: api_server.Cluster) -> None:
    cluster.put("pods", pod("a"))
    cluster.forbidden.add("pods/log")
    with pytest.raises(AccessDenied, match="get pods/log"):
        next(Follower(Cluster.open(), of_grid(GRID), most=10, tail=2).lines())


def test_a_log_is_not_asked_for_again_and_again(cluster: api_server.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that waits to begin has none yet."""
    monkeypatch.setattr("htcgrid_core.adapters.kubernetes.logs.AGAIN_SECONDS", 0.5)
    cluster.put("pods", crashed("a", "Error", 1, 3))
    follower = Follower(Cluster.open(), of_grid(GRID), most=1, tail=2)
    got: list[Line] = []
    threading.Thread(target=lambda: got.extend(taken(follower.lines(), 1)), daemon=True).start()
    deadline = time.monotonic() + 30
    while len(cluster.made("GET", "pods/log")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first, second = [call.at for call in cluster.made("GET", "pods/log")][:2]
    assert second - first >= 0.5
    cluster.say("a", "begun")
    while not got:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert got == [Line("a", "begun")]
