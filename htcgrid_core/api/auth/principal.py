"""Principals: who asks, what for, and on whose behalf."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from htcgrid_core.domain.session import DEFAULT_TENANT

ALL_TENANTS = "*"


class Scope(StrEnum):
    """What a principal may do. None includes another."""

    READ = "read"  # sessions, tasks, results, functions, load
    SUBMIT = "submit"  # sessions of deployed functions, their ends, JSON shared inputs
    CODE = "code"  # what chooses the code that runs: import paths, callables, deployments, pickles
    OPERATE = "operate"  # agents, destinations
    HOLD = "hold"  # legal holds: to put sessions on them, and to release these


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Attributes:
        name: for the audit and for rate limits.
        scopes: what for.
        tenants: on whose behalf; ``*`` among them is everybody's.
    """

    name: str
    scopes: frozenset[Scope]
    tenants: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """Whether it has a scope."""
        return scope in self.scopes

    def serves(self, tenant: str) -> bool:
        """Whether it acts for a tenant."""
        return tenant in self.tenants or self.serves_all

    @property
    def serves_all(self) -> bool:
        """Whether it acts for everybody."""
        return ALL_TENANTS in self.tenants

    @property
    def own_tenant(self) -> str | None:
        """The tenant that is meant where none is said; None if it must be said."""
        if self.serves(DEFAULT_TENANT):
            return DEFAULT_TENANT
        return next(iter(self.tenants)) if len(self.tenants) == 1 else None
