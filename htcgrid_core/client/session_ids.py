"""Ids of sessions: fresh ones, and those that belong to a token."""

from __future__ import annotations

import hashlib
import os

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.session import DEFAULT_TENANT, TENANT, within_tenant

MAX_TOKEN = 1024


def session_id_of(token: str | None, tenant: str = DEFAULT_TENANT) -> str:
    """A fresh id, or the one that belongs to a tenant's token: its uniqueness makes submission idempotent.

    Raises:
        InvalidInput: the token or the tenant's name is none.
    """
    if not TENANT.fullmatch(tenant):
        raise InvalidInput(f"{tenant!r} is no tenant's name: up to 32 lower-case letters, digits and hyphens")
    if token is None:
        return within_tenant(tenant, f"s-{os.urandom(12).hex()}")
    if not token or len(token) > MAX_TOKEN:
        raise InvalidInput(f"a token has 1 to {MAX_TOKEN} characters, not {len(token)}")
    digest = hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return within_tenant(tenant, f"t-{digest}")
