"""Whose the blobs are that principals of a service have put: of a tenant, so that others cannot even ask for them.

A blob is named by its digest, and a grid keeps the same bytes once. So a note beside it says that a tenant has put
them.
"""

from __future__ import annotations

from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries

OWNED = "owned/"


def note(plane: Plane, tenant: str, key: str) -> None:
    """A tenant has put the blob under ``key``."""
    with_retries(plane, lambda: plane.blobs.put(_note(tenant, key), b"+"))


def is_owned(plane: Plane, tenant: str, key: str) -> bool:
    """Whether it has; which counts as a use of the note."""
    return with_retries(plane, lambda: plane.blobs.touch(_note(tenant, key)))


def _note(tenant: str, key: str) -> str:
    return f"{OWNED}{tenant}/{key}"
