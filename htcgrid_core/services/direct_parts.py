"""Direct parts: of uploads, put by clients straight into the grid's storage, under names that say what they hold.

Nothing of such an object is believed before its length and its SHA-256 have been found to be those of its name: the
signature of its URL binds them, but whether a store enforced that is not known here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain

from htcgrid_core.codecs.event_parts import BadLine, events_of_body, events_of_lines
from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.codecs.wire import RAW
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload, InvalidInput
from htcgrid_core.domain.session import tenant_of
from htcgrid_core.ports.part_urls import PartUrl, PartUrls
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries

INCOMING = "incoming/"
MAX_DIRECT_PARTS = 10_000  # all are listed when an upload is sealed
MAX_PART_BYTES = limits.MAX_EVENT_BYTES + (1 << 20)  # one event of any size must fit; so much is held in memory
FORMS = {"application/x-ndjson": "ndjson", RAW: "raw"}
LISTED_ALONE = 10  # parts that are looked for one by one: to list all takes a call for each thousand that there are
TRIES = 3  # at reading what is not what it should be, which may be the fault of the way
_NAME = re.compile(r"(\d{1,9})\.([0-9a-f]{64})\.(ndjson|raw)")


@dataclass(frozen=True, slots=True, order=True)
class DirectPart:
    """A part, as its client has announced it.

    Attributes:
        length: bytes.
        sha256: of them, as hex.
        media: what they are: one of ``FORMS``.
    """

    number: int
    length: int
    sha256: str
    media: str

    @property
    def name(self) -> str:
        """Of its object, behind its number."""
        return f"{self.length}.{self.sha256}.{FORMS[self.media]}"

    def key(self, session_id: str) -> str:
        """Of its object."""
        return f"{_folder(session_id, self.number)}{self.name}"

    @classmethod
    def named(cls, number: int, name: str) -> DirectPart | None:
        """Undo ``name``; None if this is none."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        media = next(media for media, form in FORMS.items() if form == found[3])
        return cls(number, int(found[1]), found[2], media)


def listed(plane: Plane, session_id: str, numbers: Collection[int] | None = None) -> dict[int, list[DirectPart]]:
    """The parts of a session that were put, by number; a number has several if its client said several things.

    Args:
        numbers: of those that are wanted, at least; None for all.
    """
    prefix = _prefix(session_id)
    wanted = [prefix]
    if numbers is not None and len(numbers) <= LISTED_ALONE:
        wanted = [_folder(session_id, number) for number in sorted(set(numbers))]
    found: dict[int, list[DirectPart]] = {}
    for key in chain.from_iterable(with_retries(plane, partial(plane.blobs.keys, one)) for one in wanted):
        number, _, name = key.removeprefix(prefix).partition("/")
        if number.isdecimal() and (part := DirectPart.named(int(number), name)) is not None:
            found.setdefault(part.number, []).append(part)
    return found


def url_for(plane: Plane, urls: PartUrls, session_id: str, part: DirectPart) -> PartUrl:
    """Where a part may be put."""
    key, now = part.key(session_id), plane.clock.now()
    return urls.put(key, length=part.length, sha256=part.sha256, media=part.media, now=now)


def events_of(plane: Plane, session_id: str, part: DirectPart) -> Iterator[EncodedEvent]:
    """The events of a part; the whole of it is verified before the first.

    Raises:
        InvalidInput: it is missing, is not what was announced, or a line of it is no event; with its number.
    """
    data = _verified(plane, session_id, part)
    try:
        yield from events_of_body(data) if part.media == RAW else events_of_lines(data)
    except BadLine as error:
        raise InvalidInput(f"part {part.number}, line {error.number}: {error}") from None
    except CorruptPayload as error:
        raise InvalidInput(f"part {part.number} is not in the raw form: {error}") from None


def _verified(plane: Plane, session_id: str, part: DirectPart) -> bytes:
    key, data = part.key(session_id), b""
    for _ in range(TRIES):
        try:
            # One byte more than it may have: of what is larger, no more than that is read.
            data = bytes(with_retries(plane, partial(plane.blobs.get_range, key, 0, part.length + 1)))
        except CorruptPayload:
            raise InvalidInput(f"part {part.number} of session {session_id} is not there any more") from None
        if len(data) == part.length and hashlib.sha256(data).hexdigest() == part.sha256:
            return data
    what = "its SHA-256 is another" if len(data) == part.length else f"it has not {part.length:,} bytes"
    raise InvalidInput(f"part {part.number} of session {session_id} is not what was announced: {what}")


def forget(plane: Plane, session_id: str) -> None:
    """Its parts are of no use any more."""
    with_retries(plane, lambda: plane.blobs.delete_prefix(_prefix(session_id)))


def _folder(session_id: str, number: int) -> str:
    return f"{_prefix(session_id)}{number:06d}/"


def _prefix(session_id: str) -> str:
    return f"{INCOMING}{tenant_of(session_id)}/{session_id}/"
