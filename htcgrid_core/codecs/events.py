"""Events as they travel: encoded where they are submitted, and by nobody on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from htcgrid_core.codecs.shared import noting
from htcgrid_core.codecs.values import ENCODERS
from htcgrid_core.domain.errors import InvalidEvent


class EncodedEvent(NamedTuple):
    """One event, and the ``digest.codec`` of each shared input that it refers to."""

    data: bytes
    shared: tuple[str, ...] = ()


def encoded(codec: str, events: Iterable[Any]) -> Iterator[EncodedEvent]:
    """The events one after the other, each when it is asked for; those that are encoded already as they are.

    Raises:
        InvalidEvent: one of them cannot be encoded.
    """
    encode = ENCODERS[codec]
    for index, event in enumerate(events):
        if type(event) is EncodedEvent:
            yield event
            continue
        try:
            with noting() as shared:
                data = encode(event)
        except Exception as error:  # whatever the event's own encoding raises is the caller's to mend
            raise _invalid(index, codec, error) from error
        yield EncodedEvent(data, tuple(sorted(shared))) if shared else EncodedEvent(data)


def _invalid(index: int, codec: str, error: Exception) -> InvalidEvent:
    if codec == "json":
        return InvalidEvent(index, f"it is not JSON ({error})")
    return InvalidEvent(index, f"it cannot be pickled ({type(error).__name__}: {error})")
