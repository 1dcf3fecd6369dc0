"""Uploads: events that come in parts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from htcgrid_core.api.models.fields import Count, Digest, Model, whole
from htcgrid_core.api.models.sessions import WAIT_SECONDS
from htcgrid_core.services.direct_parts import MAX_DIRECT_PARTS, MAX_PART_BYTES


class Part(Model):
    """A part of a session's events, once it is stored."""

    number: Count
    events: Count


class Parts(Model):
    """The parts that are there, in order."""

    parts: list[Count]


class DirectPart(Model):
    """A part that its client puts into the grid's storage itself.

    Attributes:
        number: in the order of the events, from 0 on.
        bytes: how many it has, all of which are sent as they are: the storage knows no Content-Encoding.
        sha256: of them.
        media: what they are: JSON lines, one event each; or this project's own client's form.
    """

    number: Annotated[int, Field(ge=0, lt=MAX_DIRECT_PARTS), BeforeValidator(whole)]
    bytes: Annotated[int, Field(ge=1, le=MAX_PART_BYTES), BeforeValidator(whole)]
    sha256: Digest
    media: Literal["application/x-ndjson", "application/vnd.htcgrid.raw"] = "application/x-ndjson"


class DirectParts(Model):
    """Parts whose client wants to put them itself."""

    parts: Annotated[list[DirectPart], Field(min_length=1, max_length=100)]


class PartUrl(Model):
    """Where a part is put, with exactly these headers and bytes.

    Attributes:
        stored: whether it is there already; then there is no URL.
        url: for one PUT of this part; a secret. Ask for another one when it has expired.
        expires_at: seconds since the epoch.
    """

    number: Count
    stored: bool
    url: str | None
    headers: dict[str, str]
    expires_at: float | None


class PartUrls(Model):
    """Where parts are put, in the order in which they were asked for."""

    parts: list[PartUrl]


class Seal(Model):
    """How many parts there are, from 0 on; all of them must be there.

    Attributes:
        wait: seconds to wait until the session is submitted. It is sealed before; sealing again waits again. Of parts
            that were put by URLs, agents make the session, and nothing waits for them here.
    """

    parts: Annotated[int, Field(ge=0, le=100_000), BeforeValidator(whole)]
    wait: Annotated[float, Field(ge=0, le=WAIT_SECONDS)] = 0.0
