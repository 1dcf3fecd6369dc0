"""A pod and a pool's scaling, of all that Kubernetes says of them what is worth knowing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from htcgrid_core.adapters.kubernetes.names import CONTAINER, DELETION_COST, POOL_LABEL

Object = Mapping[str, Any]
OUT_OF_MEMORY = "OOMKilled"
HOST_LENGTH = 63  # of a host name: a pod's is its own name, cut


@dataclass(frozen=True, slots=True)
class Pod:
    """An agent's pod.

    Attributes:
        state: ready, starting, pending (on no node yet), leaving, or how it ended.
        version: tag or digest of the agent's image.
        restarts: of the agent's container.
        out_of_memory: whether its container ended so the last time.
        why: it is not ready, as Kubernetes says it; empty where it says nothing.
        deletion_cost: as the agent wrote it.
        created_at: wall clock (s).
    """

    name: str
    pool: str
    state: str
    node: str
    version: str
    restarts: int
    out_of_memory: bool
    why: str
    deletion_cost: int | None
    created_at: float

    @property
    def host(self) -> str:
        """As its agent calls itself."""
        return self.name[:HOST_LENGTH]


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many pods a pool's Deployment has been asked for, and who asks.

    Attributes:
        by: keda, hpa, or nobody.
        asked: the Deployment's replicas.
        wanted: what the autoscaler wants; None if nobody scales, or it does not say.
        least, most: between which it may.
        cores: that a pod asks for.
        wrong: what keeps it from scaling, in Kubernetes' or KEDA's words.
    """

    pool: str
    by: str
    asked: int
    wanted: int | None
    least: int
    most: int
    cores: float
    wrong: tuple[str, ...]


def pod_of(found: Object, events: Mapping[str, str] | None = None) -> Pod:
    """A pod of the API.

    Args:
        events: the last warning about each pod, by its name.
    """
    metadata, status = found["metadata"], found.get("status", {})
    containers = {each["name"]: each for each in status.get("containerStatuses") or ()}
    its = containers.get(CONTAINER, {})
    image = next((each["image"] for each in found["spec"]["containers"] if each["name"] == CONTAINER), "")
    cost = (metadata.get("annotations") or {}).get(DELETION_COST, "")
    state = _state(metadata, status, found["spec"])
    why = "" if state in ("ready", "leaving") else _why(status, its) or (events or {}).get(metadata["name"], "")
    return Pod(
        name=metadata["name"],
        pool=metadata["labels"].get(POOL_LABEL, ""),
        state=state,
        node=found["spec"].get("nodeName") or "",
        version=version_of(image),
        restarts=its.get("restartCount", 0),
        out_of_memory=any(_ended(its.get(each)).get("reason") == OUT_OF_MEMORY for each in ("state", "lastState")),
        why=why,
        deletion_cost=int(cost) if cost.lstrip("-").isdigit() else None,
        created_at=_time(metadata.get("creationTimestamp")),
    )


def warnings_of(events: Iterable[Object]) -> dict[str, str]:
    """The last warning about each pod, by its name."""
    newest: dict[str, tuple[str, str]] = {}
    for event in events:
        at = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or ""
        name = event["involvedObject"]["name"]
        if name not in newest or at >= newest[name][0]:
            newest[name] = (at, f"{event.get('reason')}: {event.get('message')}")
    return {name: text for name, (_, text) in newest.items()}


def scaling_of(deployment: Object, autoscalers: Iterable[Object], scaled: Iterable[Object] | None) -> Scaling:
    """Who scales a Deployment, and to what."""
    name = deployment["metadata"]["name"]
    keda = _aimed_at(name, scaled or ())
    hpa = _aimed_at(name, autoscalers)
    asked = deployment["spec"].get("replicas", 1)
    wrong = [*_wrong(keda, {"Ready": "False", "Fallback": "True", "Paused": "True"}), *_wrong(hpa, _HPA)]
    spec = hpa["spec"] if hpa else {"minReplicas": asked, "maxReplicas": asked}
    least = keda["spec"].get("minReplicaCount", 0) if keda else spec.get("minReplicas", 1)
    return Scaling(
        pool=deployment["metadata"]["labels"].get(POOL_LABEL, ""),
        by="keda" if keda else "hpa" if hpa else "nobody",
        asked=asked,
        wanted=(hpa.get("status") or {}).get("desiredReplicas") if hpa else None,
        least=least,
        most=keda["spec"].get("maxReplicaCount", 100) if keda else spec["maxReplicas"],
        cores=_cores(deployment["spec"]),
        wrong=tuple(wrong),
    )


def version_of(image: str) -> str:
    """Tag or digest of an image."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return digest[:19] if digest else tag


_HPA = {"AbleToScale": "False", "ScalingActive": "False", "ScalingLimited": "True"}
_NOT_WRONG = {"TooFewReplicas", "ScalingDisabled"}  # at its least, and asked for none at all


def _cores(spec: Object) -> float:
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ()
    asked = [((each.get("resources") or {}).get("requests") or {}).get("cpu", "0") for each in containers]
    return sum(float(cpu.removesuffix("m")) / (1000 if cpu.endswith("m") else 1) for cpu in map(str, asked))


def _aimed_at(name: str, objects: Iterable[Object]) -> Object | None:
    return next((each for each in objects if each["spec"]["scaleTargetRef"]["name"] == name), None)


def _wrong(found: Object | None, bad: Mapping[str, str]) -> list[str]:
    if found is None:
        return []
    return [
        f"{each['type']} is {each['status']}: {each.get('message') or each.get('reason', '')}"
        for each in (found.get("status") or {}).get("conditions") or ()
        if bad.get(each["type"]) == each["status"] and each.get("reason") not in _NOT_WRONG
    ]


def _state(metadata: Object, status: Object, spec: Object) -> str:
    if metadata.get("deletionTimestamp"):
        return "leaving"
    phase = status.get("phase", "Pending")
    if phase in ("Failed", "Succeeded"):
        return str(phase).lower()
    if not spec.get("nodeName"):
        return "pending"
    return "ready" if _condition(status, "Ready").get("status") == "True" else "starting"


def _why(status: Object, its: Object) -> str:
    """What Kubernetes says of a pod that is not ready: the scheduler first, then its agent's container."""
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return str(scheduled.get("message") or scheduled.get("reason", ""))
    waiting = (its.get("state") or {}).get("waiting") or {}
    ended = _ended(its.get("lastState"))
    said = [waiting.get("reason", ""), waiting.get("message", "")]
    if ended:
        said.append(f"it ended last by {ended.get('reason', '')} with code {ended.get('exitCode')}")
    if status.get("reason"):  # such as Evicted
        said += [status["reason"], status.get("message", "")]
    return ": ".join(filter(None, said))


def _condition(status: Object, kind: str) -> Object:
    return next((each for each in status.get("conditions") or () if each["type"] == kind), {})


def _ended(state: Object | None) -> Object:
    return (state or {}).get("terminated") or {}


def _time(text: str | None) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else 0.0
