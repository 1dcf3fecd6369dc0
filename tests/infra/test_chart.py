"""The Helm chart, rendered for several sets of values: Kubernetes' schemas, our rules and the agent's settings."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from htcgrid_core.adapters.kubernetes.names import CONTAINER, GRID_LABEL, POOL_LABEL, of_grid
from htcgrid_core.adapters.kubernetes.own_pod import ACCOUNT
from htcgrid_core.cli.agent import agent
from htcgrid_core.cloud.plane import CACHE_VARIABLE
from htcgrid_core.local.settings import PREFIX, AgentTimes
from tests.infra.terraform import FILES, REPOSITORY, VENV

CHART = REPOSITORY / "agent" / "helm" / "htcgrid"
PLAIN = REPOSITORY / "agent" / "kubernetes" / "htcgrid.yaml"
VALUES = sorted((CHART / "ci").glob("*.yaml"))
CRDS = VENV / "crds"
CUSTOM = {"NodeClass", "NodePool", "ScaledObject", "TriggerAuthentication"}
MARGIN_SECONDS = 10
# Keys of custom resources that exist, by the documentation of KEDA 2.20 and Karpenter 1.
SCALED_OBJECT = {
    "scaleTargetRef", "pollingInterval", "cooldownPeriod", "minReplicaCount", "maxReplicaCount", "fallback", "advanced",
    "triggers",
}  # fmt: skip
Manifest = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([FILES / "bin" / "helm", *arguments], capture_output=True, text=True, timeout=60)


def rendered(values: Path) -> list[Manifest]:
    done = helm("template", "grid", str(CHART), "--values", str(values))
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] == kind]


def refused(manifests: list[Manifest]) -> list[str]:
    """What the schemas of KEDA and Karpenter say against custom resources; AWS gives none of its NodeClass."""
    if not (CRDS / "ready").exists():
        pytest.skip("npm is missing, or make .venv-infra/crds/ready was not run")
    custom = [each for each in manifests if each["kind"] in CUSTOM - {"NodeClass"}]
    script = (Path(__file__).parent / "crds.mjs").read_text()
    command = ["node", "--input-type=module", "--eval", script]  # which looks for modules where it runs
    done = subprocess.run(command, cwd=CRDS, input=json.dumps(custom), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def container(deployment: Manifest) -> Manifest:
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


def variables(deployment: Manifest) -> dict[str, str]:
    """Those with a value; what Kubernetes says of the pod is for others to name."""
    return {each["name"]: each["value"] for each in container(deployment)["env"] if "value" in each}


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
class TestRendered:
    def test_is_linted(self, values: Path) -> None:
        done = helm("lint", "--strict", str(CHART), "--values", str(values))
        assert done.returncode == 0, done.stdout

    def test_is_what_kubernetes_knows(self, values: Path, tmp_path: Path) -> None:
        """All kinds of its own; what it warns of are the custom ones alone."""
        file = tmp_path / "chart.yaml"
        file.write_text(yaml.safe_dump_all(rendered(values)))
        command = [str(VENV / "bin" / "kubernetes-validate"), "--strict", "-k", "1.36", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        said = (done.stdout + done.stderr).splitlines()
        assert done.returncode == 0, said
        strange = [line for line in said if "WARN" in line and not any(f"kind {kind} " in line for kind in CUSTOM)]
        assert strange == []

    def test_is_what_keda_and_karpenter_know(self, values: Path) -> None:
        assert refused(rendered(values)) == []

    def test_selectors_find_their_pods(self, values: Path) -> None:
        manifests = rendered(values)
        for deployment in of_kind(manifests, "Deployment"):
            labels = deployment["spec"]["template"]["metadata"]["labels"].items()
            assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
        for budget in of_kind(manifests, "PodDisruptionBudget"):
            selected = budget["spec"]["selector"]["matchLabels"].items()
            assert any(
                selected <= each["spec"]["template"]["metadata"]["labels"].items()
                for each in of_kind(manifests, "Deployment")
            )

    def test_who_is_scaled_has_no_replicas(self, values: Path) -> None:
        """Else each upgrade would set them back."""
        manifests = rendered(values)
        scaled = of_kind(manifests, "ScaledObject") + of_kind(manifests, "HorizontalPodAutoscaler")
        targets = {each["spec"]["scaleTargetRef"]["name"] for each in scaled}
        for deployment in of_kind(manifests, "Deployment"):
            assert ("replicas" in deployment["spec"]) != (deployment["metadata"]["name"] in targets)

    def test_graces_are_in_order(self, values: Path) -> None:
        """The agent's, its pod's, its node's; and the agent takes the first with its lease."""
        manifests = rendered(values)
        for deployment in of_kind(manifests, "Deployment"):
            times = AgentTimes.from_environment(variables(deployment)).settings()
            pod = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            assert times.drain_grace_seconds + MARGIN_SECONDS < pod
            for pool in of_kind(manifests, "NodePool"):
                assert pod <= seconds(pool["spec"]["template"]["spec"]["terminationGracePeriod"])

    def test_every_variable_is_one_that_the_agent_reads(self, values: Path) -> None:
        options = {
            str(each.envvar) for each in agent.params if isinstance(each, click.Option) and each.envvar is not None
        }
        times = {PREFIX + field.upper() for field in AgentTimes.model_fields}
        for deployment in of_kind(rendered(values), "Deployment"):
            assert set(variables(deployment)) <= options | times | {CACHE_VARIABLE}

    def test_pods_are_restricted(self, values: Path) -> None:
        """As Kubernetes' Pod Security calls it; and probes go to the agent's own pages."""
        for deployment in of_kind(rendered(values), "Deployment"):
            pod = deployment["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert pod["automountServiceAccountToken"] is False
            for each in (*pod["containers"], *pod.get("initContainers", ())):
                assert each["securityContext"]["allowPrivilegeEscalation"] is False
                assert each["securityContext"]["readOnlyRootFilesystem"] is True
                assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            probes = {
                name: container(deployment)[name]["httpGet"]["path"] for name in ("livenessProbe", "readinessProbe")
            }
            assert probes == {"livenessProbe": "/healthz", "readinessProbe": "/readyz"}
            assert variables(deployment)["HTCGRID_HEALTH_HOST"] == "0.0.0.0", "or the kubelet does not reach it"

    def test_who_looks_at_the_fleet_finds_it(self, values: Path) -> None:
        """By the grid's label; a Deployment's selector, which nobody can change, has none."""
        manifests = rendered(values)
        for each in (*of_kind(manifests, "Deployment"), *of_kind(manifests, "ScaledObject")):
            found = each["metadata"]["labels"]
            wanted = [term.split("=") for term in of_grid("book", found[POOL_LABEL]).split(",")]
            assert dict(wanted).items() <= found.items()
        for each in of_kind(manifests, "Deployment"):
            assert each["spec"]["template"]["metadata"]["labels"] == each["metadata"]["labels"]
            assert GRID_LABEL not in each["spec"]["selector"]["matchLabels"]
            assert container(each)["name"] == CONTAINER

    def test_who_may_change_pods(self, values: Path) -> None:
        """Nobody, unless agents are to write on theirs; then by a token that functions beside them do not have."""
        manifests = rendered(values)
        is_on = "deletionCost" in values.read_text()
        rules = [rule for role in of_kind(manifests, "Role") for rule in role["rules"]]
        assert rules == ([{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}] if is_on else [])
        for deployment in of_kind(manifests, "Deployment"):
            pod = deployment["spec"]["template"]["spec"]
            having = [
                each["name"]
                for each in (*pod["containers"], *pod.get("initContainers", ()))
                for mount in each["volumeMounts"]
                if mount["mountPath"] == str(ACCOUNT)
            ]
            assert having == ([CONTAINER] if is_on else [])
            assert (variables(deployment).get("HTCGRID_POD") == "$(POD_NAMESPACE)/$(POD_NAME)") == is_on

    def test_scaling_is_by_slots(self, values: Path) -> None:
        manifests = rendered(values)
        deployments = {each["metadata"]["name"]: each for each in of_kind(manifests, "Deployment")}
        for scaled in of_kind(manifests, "ScaledObject"):
            spec = scaled["spec"]
            assert set(spec) <= SCALED_OBJECT
            names = {trigger["name"] for trigger in spec["triggers"]}
            formula = spec["advanced"]["scalingModifiers"]["formula"]
            assert names == set(re.findall(r"[a-z]+", formula)) - {"max"}
            slots = variables(deployments[spec["scaleTargetRef"]["name"]])["HTCGRID_SLOTS"]
            assert spec["advanced"]["scalingModifiers"]["target"] == slots


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("ScaledObject", ("spec", "pollingInterval"), "often"),
        ("ScaledObject", ("spec", "triggers", 0, "metadata", "threshold"), 32),
        ("TriggerAuthentication", ("spec", "podIdentity", "provider"), "nobody"),
        ("NodePool", ("spec", "template", "spec", "requirements", 0, "operator"), "Within"),
        ("NodePool", ("spec", "disruption", "consolidateAfter"), "5 minutes"),
    ],
)
def test_custom_resources_that_cannot_be(kind: str, path: tuple[str | int, ...], value: Any) -> None:
    changed = next(found[0] for values in VALUES if (found := of_kind(rendered(values), kind)))
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    assert path[-1] in place
    place[path[-1]] = value
    assert len(refused([changed])) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        "pools.default.cpus=4", "url=local://", "url=aws://book", "image.repository=", "drainGraceSeconds=-1",
        "scaling.by=luck", "image.digest=latest", "disruption.maxUnavailable=0%", "nodePool.architectures={sparc}",
        "pools.Big.cpu=4", "scaling.prometheus.labels.a-b=c", "scaling.prometheus.labels.a=\"",
    ],
)  # fmt: skip
def test_values_that_cannot_be(wrong: str) -> None:
    done = helm("template", "grid", str(CHART), "--values", str(CHART / "ci" / "minimal.yaml"), "--set", wrong)
    assert done.returncode != 0, "a typing error, or a number that is none, must not be found by a cluster"


def test_a_prometheus_of_several_grids() -> None:
    """Slots that another grid wants are none of this one's."""
    labels = ("--set", "scaling.prometheus.labels.namespace=htcgrid")
    done = helm("template", "grid", str(CHART), "--values", str(CHART / "ci" / "minimal.yaml"), *labels)
    (scaled,) = of_kind(list(yaml.safe_load_all(done.stdout)), "ScaledObject")
    queries = [each["metadata"]["query"] for each in scaled["spec"]["triggers"] if each["type"] == "prometheus"]
    whose = 'grid="book",region="eu-west-1",pool="default",namespace="htcgrid"'
    assert queries == [f"sum(max by (priority) (htcgrid_slots_wanted{{{whose}}}))"]


def test_what_the_documents_install() -> None:
    """The command of docs/deploy.md, over values as Terraform's output has them."""
    page = (REPOSITORY / "docs" / "deploy.md").read_text().replace("\\\n", " ")
    (command,) = re.findall(r"^helm install (.*)$", page, re.MULTILINE)
    given = CHART / "ci" / "minimal.yaml"
    (chart,) = [word for word in command.split() if word.startswith("agent/")]
    words = command.replace(chart, str(REPOSITORY / chart)).replace(" values.yaml", f" {given}").split()
    done = helm("template", *words)
    assert done.returncode == 0, done.stderr


def test_the_plain_yaml_is_fresh() -> None:
    """H=agent/helm/htcgrid; helm template grid $H --values $H/ci/plain.yaml > agent/kubernetes/htcgrid.yaml"""
    done = helm("template", "grid", str(CHART), "--values", str(CHART / "ci" / "plain.yaml"))
    assert PLAIN.read_text() == done.stdout
