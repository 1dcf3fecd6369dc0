"""Submission: a session as this project's own client asks a server for it; the first frame of such a request."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.extent import Extent, check_extent
from htcgrid_core.domain.notification import Recipient
from htcgrid_core.domain.server_source import ServerSource
from htcgrid_core.domain.session import SessionSpec

_DAMAGED = (orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True)
class Submission:
    """What is asked for. Whoever asks has made the id, so that it may ask again: the same id is the same session.

    Attributes:
        spec: with the function's name, or its package's name and version; the server looks up the rest.
        total: how many events there are; None if that is not known.
        durable: whether it must survive a power failure before it is acknowledged.
        upload: whether the events come later, in parts; else frames of them follow.
        recipients: who is told of its end.
        source: what the server reads the events from; None if they come from the client. If the source's ``once`` is
            set, the server makes the id, and this one is empty.
        validate: how many of the events are checked by their function's schema.
    """

    session_id: str
    spec: SessionSpec
    total: int | None = None
    durable: bool = True
    upload: bool = False
    recipients: tuple[Recipient, ...] = ()
    source: ServerSource | None = None
    validate: Extent = "all"

    def write(self) -> bytes:
        """As the body of a HEAD frame."""
        notify = [[one.to, one.secret, one.heartbeat_seconds] for one in self.recipients]
        told = {"id": self.session_id, "spec": _spec_text(self.spec), "total": self.total, "notify": notify}
        source = {} if self.source is None else {"source": self.source.model_dump(mode="json", exclude_defaults=True)}
        extent = {} if self.validate == "all" else {"validate": self.validate}
        return orjson.dumps({**told, "durable": self.durable, "upload": self.upload, **source, **extent})

    @classmethod
    def read(cls, body: bytes) -> Submission:
        """Undo ``write``.

        Raises:
            InvalidInput: it is something else, or of a release that asks for what this one does not know.
        """
        try:
            found = orjson.loads(body)
            spec = SessionSpec.model_validate_json(found["spec"])
            recipients = tuple(Recipient(str(to), str(secret), float(beat)) for to, secret, beat in found["notify"])
            total = None if found["total"] is None else int(found["total"])
            source = None if found.get("source") is None else ServerSource.model_validate(found["source"])
            check_extent(validate := found.get("validate", "all"))
            durable, upload = bool(found["durable"]), bool(found["upload"])
            return cls(str(found["id"]), spec, total, durable, upload, recipients, source, validate)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise InvalidInput(f"the session was not submitted: {wrong}") from None
        except InvalidInput:
            raise
        except _DAMAGED:
            raise InvalidInput("the session was not submitted: its first frame is no submission") from None


def _spec_text(spec: SessionSpec) -> str:
    """As JSON; how long it is kept is left to the server, whose tenant's default it is, unless somebody has said so."""
    if "retention_seconds" in spec.model_fields_set:
        return spec.text
    return spec.model_dump_json(exclude={"retention_seconds"})
