"""Names of functions that belong to a tenant, on a grid whose registry knows no tenants: ``TENANT__NAME``."""

from __future__ import annotations

from htcgrid_core.domain.session import DEFAULT_TENANT, TENANT

SEPARATOR = "__"


def stored_name(tenant: str, name: str) -> str:
    """The name under which a tenant's function is registered; those of the default tenant have none before it."""
    return name if tenant == DEFAULT_TENANT else f"{tenant}{SEPARATOR}{name}"


def owner_of(stored: str) -> tuple[str, str]:
    """The tenant that a registered function belongs to, and its name there."""
    tenant, separator, name = stored.partition(SEPARATOR)
    if separator and name and TENANT.fullmatch(tenant) and tenant != DEFAULT_TENANT:
        return tenant, name
    return DEFAULT_TENANT, stored


def name_within(tenant: str, name: str) -> str | None:
    """``stored_name``, if nobody else's function has it; else None."""
    stored = stored_name(tenant, name)
    return stored if owner_of(stored) == (tenant, name) else None
