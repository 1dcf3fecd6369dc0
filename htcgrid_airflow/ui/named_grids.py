"""Grids that operators name by a URL, without a connection: as the DAG files say, which Airflow keeps serialized.

What an operator is given when its task runs, a rendered template for instance, is not looked at: a task could write
anything there, and so choose what the api-server connects to.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from airflow.models.serialized_dag import SerializedDagModel
from airflow.utils.session import create_session
from sqlalchemy import select

DEFAULT_URL: Final = "local://"
OPENED: Final = re.compile(
    r"local://.*|aws://[a-z0-9-]+(\?region=[a-z0-9-]+|\?regions=[a-z0-9:.,-]+(&lost=[a-z0-9,-]+)?)?"
)
"""What is opened without a connection: nothing that is sent the server's token, or chooses a profile or an endpoint."""
LOOK_AGAIN_SECONDS: Final = 15.0
FIELDS: Final = frozenset(("htcgrid_conn_id", "grid"))  # templated: our operators, and those that are made of them


class NamedGrids:
    """By DAG. Each version of a DAG is read once. May be used from many threads."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._of_version: dict[str, frozenset[str]] = {}
        self._of_dag: dict[str, frozenset[str]] = {}
        self._looked_at = float("-inf")

    def of(self, dag_ids: Collection[str]) -> set[str]:
        """The URLs that operators of these DAGs name, in any version that Airflow keeps."""
        with self._reading:
            if time.monotonic() >= self._looked_at + LOOK_AGAIN_SECONDS:
                self._look()
                self._looked_at = time.monotonic()
            return set().union(*(self._of_dag.get(dag_id, ()) for dag_id in dag_ids))

    def _look(self) -> None:
        with create_session() as database:
            versions = database.execute(select(SerializedDagModel.dag_id, SerializedDagModel.dag_hash)).all()
            hashes = {dag_hash for _, dag_hash in versions}
            self._of_version = {known: urls for known, urls in self._of_version.items() if known in hashes}
            for dag_hash in sorted(hashes - self._of_version.keys()):
                one = select(SerializedDagModel).where(SerializedDagModel.dag_hash == dag_hash).limit(1)
                row = database.scalar(one)
                if row is not None:
                    self._of_version[dag_hash] = frozenset(urls_in(row.data))
                    database.expunge(row)
        found: dict[str, set[str]] = {}
        for dag_id, dag_hash in versions:
            found.setdefault(dag_id, set()).update(self._of_version.get(dag_hash, ()))
        self._of_dag = {dag_id: frozenset(urls) for dag_id, urls in found.items()}


def urls_in(data: Any) -> Iterator[str]:
    """The URLs of grids that a serialized DAG's operators name."""
    told = json.loads(data) if isinstance(data, str) else data
    for task in (told or {}).get("dag", {}).get("tasks", ()):
        fields: Mapping[str, Any] = task.get("__var", task)
        if not FIELDS.issubset(fields.get("template_fields", ())):
            continue
        for given in (fields, fields.get("partial_kwargs") or {}):
            url = given.get("grid")
            if isinstance(url, str) and OPENED.fullmatch(url) and "{{" not in url:
                yield url
