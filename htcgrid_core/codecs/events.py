"""Events as they travel: encoded where they are submitted, and by nobody on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from htcgrid_core.codecs.shared import MARK, note_into, noting, shared_names, stop_noting
from htcgrid_core.codecs.values import ENCODERS
from htcgrid_core.domain.errors import InvalidEvent

_MARK = MARK.encode()


class SharingEvent(NamedTuple):
    """An encoded event that refers to shared inputs: their ``digest.codec``, in order."""

    data: bytes
    shared: tuple[str, ...]


EncodedEvent = bytes | SharingEvent


def data_of(event: EncodedEvent) -> bytes:
    """An event without the names of what it refers to."""
    return event.data if isinstance(event, SharingEvent) else event


def encoded(codec: str, events: Iterable[Any]) -> Iterator[EncodedEvent]:
    """The events one after the other, each when it is asked for.

    Raises:
        InvalidEvent: one of them cannot be encoded.
    """
    encode = ENCODERS[codec]
    shared: set[str] = set()
    for index, event in enumerate(events):
        token = note_into(shared)
        try:
            data = encode(event)
            if codec == "json" and _MARK in data:  # written out, as `htcgrid data put` prints a reference
                # Which is never of a pickle: who writes that by hand has none that this client has signed.
                shared.update(name for name in shared_names(event) if not name.endswith(".pickle"))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever the event's own encoding raises is the caller's to mend
            raise _invalid(index, codec, error) from error
        finally:
            stop_noting(token)
        if shared:
            yield SharingEvent(data, tuple(sorted(shared)))
            shared.clear()
        else:
            yield data


def encoded_by(encode: Callable[[Any], bytes], event: Any) -> EncodedEvent:
    """One event, by itself.

    Raises:
        BaseException: whatever ``encode`` raises.
    """
    with noting() as shared:
        data = encode(event)
    return SharingEvent(data, tuple(sorted(shared))) if shared else data


def _invalid(index: int, codec: str, error: BaseException) -> InvalidEvent:
    if codec == "json":
        return InvalidEvent(index, f"it is not JSON ({error})")
    return InvalidEvent(index, f"it cannot be pickled ({type(error).__name__}: {error})")
