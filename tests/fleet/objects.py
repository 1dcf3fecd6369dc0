"""A grid's objects as its cluster has them."""

from __future__ import annotations

from typing import Any

from tests.fleet.api_server import Object

GRID = "book"
NO_ROOM = "0/12 nodes are available: 12 Insufficient cpu."


def labels(pool: str, grid: str = GRID) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "htcgrid-agent",
        "app.kubernetes.io/instance": "grid",
        "htcgrid/grid": grid,
        "htcgrid/pool": pool,
    }


def pod(
    name: str, pool: str = "default", *, grid: str = GRID, image: str = "example.com/agent:1", **status: Any
) -> Object:
    """One that is ready; ``status`` says otherwise."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels(pool, grid), "creationTimestamp": "2026-11-29T12:00:00Z"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "agent", "image": image}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "agent", "restartCount": 0, "state": {"running": {}}, "lastState": {}}],
            **status,
        },
    }


def pending(name: str, pool: str = "default", why: str = NO_ROOM) -> Object:
    """One for which there is no node."""
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
    found = pod(name, pool, phase="Pending", conditions=[scheduled] if why else [], containerStatuses=[])
    del found["spec"]["nodeName"]
    return found


def crashed(name: str, reason: str, code: int, restarts: int) -> Object:
    """One whose agent ended again and again, and is about to be started."""
    ended = {"terminated": {"reason": reason, "exitCode": code}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}}
    its = {"name": "agent", "restartCount": restarts, "state": waiting, "lastState": ended}
    return pod(name, conditions=[{"type": "Ready", "status": "False"}], containerStatuses=[its])


def deployment(pool: str, replicas: int, grid: str = GRID) -> Object:
    return {
        "metadata": {"name": f"htcgrid-{pool}", "labels": labels(pool, grid)},
        "spec": {"replicas": replicas},
        "status": {},
    }


def scaler(pool: str, wanted: int, most: int = 100, **conditions: tuple[str, str]) -> Object:
    """A horizontal autoscaler; ``conditions`` are status and message by type."""
    return {
        "metadata": {"name": f"keda-hpa-htcgrid-{pool}"},
        "spec": {"scaleTargetRef": {"name": f"htcgrid-{pool}"}, "minReplicas": 1, "maxReplicas": most},
        "status": {"desiredReplicas": wanted, "conditions": _conditions(conditions)},
    }


def scaled_object(pool: str, most: int = 100, **conditions: tuple[str, str]) -> Object:
    """KEDA's."""
    return {
        "metadata": {"name": f"htcgrid-{pool}", "labels": labels(pool)},
        "spec": {"scaleTargetRef": {"name": f"htcgrid-{pool}"}, "minReplicaCount": 0, "maxReplicaCount": most},
        "status": {"conditions": _conditions(conditions)},
    }


def warning(name: str, about: str, reason: str, message: str, at: str = "2026-11-29T12:00:00Z") -> Object:
    return {
        "metadata": {"name": name},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
        "involvedObject": {"kind": "Pod", "name": about},
    }


def _conditions(found: dict[str, tuple[str, str]]) -> list[Object]:
    return [{"type": kind, "status": status, "message": text} for kind, (status, text) in found.items()]
