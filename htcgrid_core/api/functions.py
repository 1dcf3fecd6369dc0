"""Deployed functions as a tenant sees them: by their names within it, and nobody else's."""

from __future__ import annotations

from htcgrid_core.api.auth.principal import Principal
from htcgrid_core.client.function_names import name_and_qualifier
from htcgrid_core.domain.errors import FunctionNotFound
from htcgrid_core.domain.function import REGISTERED_NAME, FunctionVersion
from htcgrid_core.domain.session import DEFAULT_TENANT
from htcgrid_core.domain.tenant_names import name_within, owner_of
from htcgrid_core.gateway.protocol import Gateway


def find(
    gateway: Gateway,
    principal: Principal,
    tenant: str,
    name: str,
    version: int | str | None = None,
    session_id: str | None = None,
) -> FunctionVersion:
    """A version of a tenant's function; or, if who asks acts for that too, of the default tenant's.

    Raises:
        FunctionNotFound: there is none, or it is another's.
    """
    for one in searched(principal, tenant):
        stored = name_within(one, name)
        if stored is None or not REGISTERED_NAME.fullmatch(stored):
            continue
        try:
            return gateway.function(stored, version, session_id=session_id)
        except FunctionNotFound:
            continue
    raise missing(name if version is None else f"{name}:{version}")


def find_named(gateway: Gateway, principal: Principal, tenant: str, function: str, session_id: str) -> FunctionVersion:
    """The version that a session runs, by ``NAME``, ``NAME:VERSION`` or ``NAME:ALIAS``.

    Raises:
        FunctionNotFound: as for ``find``.
    """
    return find(gateway, principal, tenant, *name_and_qualifier(function), session_id)


def searched(principal: Principal, tenant: str) -> list[str]:
    """The tenants whose functions a session of a tenant may run, in the order in which they are looked for."""
    return list(dict.fromkeys([tenant, DEFAULT_TENANT] if principal.serves(DEFAULT_TENANT) else [tenant]))


def missing(function: str) -> FunctionNotFound:
    """What is said of one that is not there, and of another's."""
    return FunctionNotFound(f"function {function!r} is not deployed: GET /v1/functions lists those that are")


def latest(gateway: Gateway, tenant: str) -> list[FunctionVersion]:
    """The latest version of each function of a tenant."""
    return [version for version in gateway.functions() if owner_of(version.function)[0] == tenant]


def stored(tenant: str, name: str) -> str:
    """The name that a tenant's function has in the registry.

    Raises:
        FunctionNotFound: it can have none there: it is too long, or would be another tenant's.
    """
    found = name_within(tenant, name)
    if found is None or not REGISTERED_NAME.fullmatch(found):
        raise missing(name)
    return found
