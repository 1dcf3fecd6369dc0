"""OpenLineage: where a session's events came from, where its results went, and which session it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

FACET = "htcgrid"
PARENT, ROOT = "openlineage.parent", "openlineage.root_parent"
LABEL_CHARACTERS = 256


def lineage_of(tasks: Any, result: str, manifest: Mapping[str, Any] | None) -> OperatorLineage[Any, Any]:
    """What OpenLineage is told; only called where its provider is installed.

    Args:
        tasks, result: as given to the operator.
        manifest: of the session, once there is one.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    def dataset(place: Any) -> list[Any]:
        found = place_of(place)
        return [Dataset(namespace=found[0], name=found[1])] if found else []

    written = (manifest or {}).get("results", result)
    return OperatorLineage(
        inputs=dataset(tasks), outputs=dataset(written), run_facets={FACET: facet_of(manifest)} if manifest else {}
    )


def parents_of(task_instance: Any) -> dict[str, str]:
    """Labels by which the session's tasks can name the Airflow run that they belong to, where OpenLineage is in use.

    Each is ``NAMESPACE/JOB/RUN``, as in the variable OPENLINEAGE_PARENT_ID of its clients.
    """
    try:
        from airflow.providers.openlineage.conf import is_disabled
        from airflow.providers.openlineage.plugins.macros import lineage_parent_id, lineage_root_parent_id
    except ImportError:
        return {}
    if is_disabled():
        return {}
    found = {PARENT: lineage_parent_id(task_instance), ROOT: lineage_root_parent_id(task_instance)}
    return {name: value for name, value in found.items() if len(value) <= LABEL_CHARACTERS}  # a part names nobody


def place_of(place: Any) -> tuple[str, str] | None:
    """Namespace and name of a file, by OpenLineage's naming; None if it is none."""
    text = str(place) if isinstance(place, str | Path) or hasattr(place, "as_uri") else ""
    if text in ("", "none", "manifest", "inline"):
        return None
    parts = urlsplit(text)
    if not parts.scheme or parts.scheme == "file":
        return "file", str(Path(parts.path).absolute())
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", parts.path.strip("/")


def facet_of(manifest: Mapping[str, Any]) -> Any:
    """The session, as a facet of the run."""
    import attrs
    from openlineage.client.generated.base import RunFacet

    @attrs.define
    class HTCGridRunFacet(RunFacet):
        session_id: str
        grid: str
        state: str
        total: int
        completed: int | None = None
        failed: int | None = None
        cancelled: int | None = None

    known = {name: value for name, value in manifest.items() if name in attrs.fields_dict(HTCGridRunFacet)}
    return HTCGridRunFacet(**known)
