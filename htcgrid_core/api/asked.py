"""Asked: a session as its submitter asked for it and this server has checked it."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from htcgrid_core.domain.notification import Recipient
from htcgrid_core.domain.session import SessionSpec


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, and by whom.

    Attributes:
        recipients: who is told of its end.
        actor: for the audit.
    """

    spec: SessionSpec
    recipients: tuple[Recipient, ...] = ()
    actor: str = ""

    def write(self) -> str:
        """As text, for an upload."""
        told = [[one.to, one.secret, one.heartbeat_seconds] for one in self.recipients]
        return orjson.dumps({"spec": self.spec.text, "notify": told, "actor": self.actor}).decode()

    @classmethod
    def read(cls, text: str) -> Asked:
        """Undo ``write``.

        Raises:
            IncompatibleGrid: a newer release wrote it.
        """
        found = orjson.loads(text)
        recipients = tuple(Recipient(*one) for one in found["notify"])
        return cls(SessionSpec.stored(found["spec"]), recipients, found["actor"])
