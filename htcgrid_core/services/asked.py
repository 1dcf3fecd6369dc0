"""Asked: a session as its submitter asked for it and a server has checked it; what an upload keeps of that."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from htcgrid_core.domain.extent import Extent
from htcgrid_core.domain.notification import Recipient
from htcgrid_core.domain.session import SessionSpec


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, and by whom.

    Attributes:
        recipients: who is told of its end.
        actor: for the audit.
        tenants: whose shared inputs its events may name, beside those of the session's own; None for anybody's.
        validate: how many of its events are checked by their function's schema.
    """

    spec: SessionSpec
    recipients: tuple[Recipient, ...] = ()
    actor: str = ""
    tenants: frozenset[str] | None = frozenset()
    validate: Extent = "all"

    def write(self) -> str:
        """As text, for an upload."""
        told = [[one.to, one.secret, one.heartbeat_seconds] for one in self.recipients]
        tenants = None if self.tenants is None else sorted(self.tenants)
        said = {"spec": self._submitted_by_whom_checks().text, "notify": told, "actor": self.actor, "tenants": tenants}
        if self.validate != "all":
            said["validate"] = self.validate
        return orjson.dumps(said).decode()

    def _submitted_by_whom_checks(self) -> SessionSpec:
        """The spec as no release reads it that would make a session of an upload without a look at its events."""
        package = self.spec.function.package
        if package is None or not package.checks_events or self.spec.min_agent_version >= package.obeyed_from:
            return self.spec
        return self.spec.model_copy(update={"min_agent_version": package.obeyed_from})

    @classmethod
    def read(cls, text: str) -> Asked:
        """Undo ``write``.

        Raises:
            IncompatibleGrid: a newer release wrote it.
        """
        found = orjson.loads(text)
        recipients = tuple(Recipient(*one) for one in found["notify"])
        tenants = found.get("tenants", ())  # the release before did not say
        spec = SessionSpec.stored(found["spec"])
        whose = None if tenants is None else frozenset(tenants)
        return cls(spec, recipients, found["actor"], whose, found.get("validate", "all"))
