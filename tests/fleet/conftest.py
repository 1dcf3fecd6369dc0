"""A cluster that is none, and a kubeconfig that leads to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.api_server import Cluster, Server


def configure(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a kubeconfig lead to a server: context ``desk`` in namespace ``htcgrid``, which is the current one."""
    here = {"cluster": "here", "user": "desk", "namespace": "htcgrid"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "desk",
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "desk", "user": {"token": "secret-token"}}],
        "contexts": [
            {"name": "desk", "context": here},
            {"name": "other", "context": {**here, "namespace": "elsewhere"}},
        ],
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))  # which is YAML, too
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Its state; a server shows it."""
    found = Cluster()
    server = Server(found)
    configure(server.url, tmp_path, monkeypatch)
    yield found
    server.close()
