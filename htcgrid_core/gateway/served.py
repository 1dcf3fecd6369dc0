"""What a server has of a grid beside its gateway: who acts, whose a blob is, and uploads in parts."""

from __future__ import annotations

from collections.abc import Iterator

from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.protocol import Gateway
from htcgrid_core.services import ownership, uploads
from htcgrid_core.services.uploads import Upload


class ServedGrid:
    """A grid that many principals use through one server. May be used from many threads."""

    def __init__(self, gateway: InProcessGateway) -> None:
        self.gateway: Gateway = gateway
        self._gateway = gateway
        self._plane = gateway.plane

    def acting(self, actor: str) -> Gateway:
        """The gateway for one who acts, as the audit names him."""
        return self._gateway.acting(actor)

    # Whose a blob is

    def note_owner(self, tenant: str, key: str) -> None:
        """A tenant has put the blob under ``key``: ``shared/DIGEST`` or ``functions/DIGEST``."""
        ownership.note(self._plane, tenant, key)

    def is_owned(self, tenant: str, key: str) -> bool:
        """Whether it has."""
        return ownership.is_owned(self._plane, tenant, key)

    # Uploads: see services.uploads

    def start_upload(self, session_id: str, asked: str) -> Upload:
        """Open one."""
        return uploads.start(self._plane, session_id, asked)

    def upload(self, session_id: str) -> Upload:
        """One that was not submitted yet."""
        return uploads.read(self._plane, session_id)

    def put_part(self, session_id: str, number: int, packed: bytes) -> bool:
        """Store a part."""
        return uploads.put_part(self._plane, session_id, number, packed)

    def parts(self, session_id: str) -> list[int]:
        """The parts that are stored."""
        return uploads.parts(self._plane, session_id)

    def seal(self, session_id: str, count: int) -> Upload:
        """All parts are there."""
        return uploads.seal(self._plane, session_id, count)

    def uploaded_events(self, upload: Upload) -> Iterator[EncodedEvent]:
        """Of all parts."""
        return uploads.events(self._plane, upload)

    def fail_upload(self, session_id: str, why: str) -> None:
        """It will never be submitted."""
        uploads.fail(self._plane, session_id, why)

    def forget_upload(self, session_id: str) -> None:
        """It is submitted."""
        uploads.forget(self._plane, session_id)

    def sealed_uploads(self) -> list[str]:
        """What a server that died has left."""
        return uploads.sealed(self._plane)
