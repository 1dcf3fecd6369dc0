"""The pod that an agent runs in: the only thing in a cluster that an agent writes, and by one call.

Without the client library, which takes 40 MB of memory and seconds to import: too much in each of thousands of pods.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

from htcgrid_core.adapters.kubernetes.names import DELETION_COST
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CALL_SECONDS = 10.0
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


class OwnPod:
    """A pod of this cluster, by the service account that Kubernetes mounted.

    Args:
        name: NAMESPACE/NAME.
        account: folder with the account's token and the cluster's certificate.

    Raises:
        InvalidInput: ``name`` is none, or this process is in no cluster.
    """

    def __init__(self, name: str, environment: Mapping[str, str] = os.environ, account: Path = ACCOUNT) -> None:
        namespace, _, pod = name.partition("/")
        if not _NAME.fullmatch(namespace) or not _NAME.fullmatch(pod):
            raise InvalidInput(f"{name!r} is no pod: NAMESPACE/NAME")
        host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not (account / "token").exists():
            raise InvalidInput(
                f"the deletion cost of pod {name} cannot be told: this process is in no pod with the token of a "
                "service account (automountServiceAccountToken)"
            )
        self._at = (host, int(port))
        self._path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
        self._account = account
        self._name = name

    def tell_deletion_cost(self, cost: int) -> None:
        """Write what it costs to delete this pod: who scales a Deployment in begins with those that cost least.

        Raises:
            GridUnavailable: it was not written; whoever asks again asks later.
        """
        body = json.dumps({"metadata": {"annotations": {DELETION_COST: str(cost)}}})
        try:
            token = (self._account / "token").read_text().strip()  # anew: Kubernetes renews it within the hour
            trusted = ssl.create_default_context(cafile=str(self._account / "ca.crt"))
            connection = http.client.HTTPSConnection(*self._at, timeout=CALL_SECONDS, context=trusted)
            try:
                headers = {
                    "Authorization": f"Bearer {token}",
                    "Content-Type": "application/merge-patch+json",
                    "Accept": "application/json",
                }
                connection.request("PATCH", self._path, body, headers)
                answer = connection.getresponse()
                said = answer.read()
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise GridUnavailable(f"pod {self._name}: the cluster's API cannot be reached: {error}") from error
        if answer.status != 200:
            raise GridUnavailable(f"pod {self._name}: {answer.status} {_message(said)}")


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
