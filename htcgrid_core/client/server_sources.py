"""``server_source``: events that the server of a grid reads, and that never pass through its client."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.server_source import ServerSource


def server_source(place: str | None = None, **options: Any) -> ServerSource:
    """What the server of a grid at ``https://`` is to read a session's events from, for ``Grid.submit``.

    Its operator has registered the prefixes and connections that a tenant may name (``htcgrid serve --sources``).

    Args:
        place: ``s3://BUCKET/...`` or ``file:///...``: a folder, a file or a pattern of files, Parquet, Arrow IPC, JSON
            Lines or CSV; with ``kind``, ``columns``, ``where``, ``partitions``, and ``separator``, ``decimal``,
            ``quote``, ``encoding`` of CSV, ``decimals`` of Parquet.
        options: of a database ``connection``, its registered name, with ``table`` (and ``columns`` and ``where``) or
            ``query`` (and ``parameters``), and ``order_by``, unique columns. ``once`` is a name of this use, from which
            and from what the input is the session's id is made, in the place of a token.

    Raises:
        InvalidInput: it is not described well. Whether it may be read, the server says.
    """
    try:
        return ServerSource(place=place, **options)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        wrong = "; ".join(": ".join(filter(None, [".".join(map(str, e["loc"])), e["msg"]])) for e in found[:5])
        raise InvalidInput(f"the server's source cannot be described so: {wrong}") from None
