"""A session by what people call it: its id, the beginning of its id, or its name."""

from __future__ import annotations

import re
from itertools import islice

from htcgrid_core.client import listing
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput, SessionNotFound
from htcgrid_core.domain.session import SESSION_ID, SessionRecord
from htcgrid_core.gateway.protocol import Gateway

WHOLE_ID = re.compile(r"(.+\.)?[st]-[0-9a-f]{24}(-.+)?")  # nobody means the beginning of another one
PREFIX_CHARACTERS = 4  # two of which are the same in all
LOOKED_AT = 10_000  # of the newest sessions
NAMED = 5  # in a message


def find(gateway: Gateway, called: str) -> SessionRecord:
    """The one session with this id; or else with an id that begins so, or with this name.

    Raises:
        SessionNotFound: there is none.
        GridUnavailable: there is none where the grid answers, and one of its regions does not.
        InvalidInput: there are several; or nothing is named, as by a shell's variable that is not set.
    """
    if not isinstance(called, str) or not called:
        raise InvalidInput(f"name a session by its id, the beginning of its id or its name: {called!r} is none of them")
    if SESSION_ID.fullmatch(called):
        try:
            return gateway.session(called)
        except SessionNotFound:
            if WHOLE_ID.fullmatch(called):
                raise
    newest = islice(listing.records(gateway, [], {}, None, LOOKED_AT), LOOKED_AT)
    found = [record for record in newest if _is_called(record, called)]
    if not found and (silent := gateway.silent()):
        raise GridUnavailable(f"no session of a region that answers is called {called!r}: {'; '.join(silent)}")
    if not found:
        raise SessionNotFound(called)
    if len(found) > 1:
        ids = ", ".join(f"{record.session_id} ({record.state})" for record in found[:NAMED])
        raise InvalidInput(f"{len(found)} sessions are called {called!r}: {ids}{', ...' * (len(found) > NAMED)}")
    return found[0]


def _is_called(record: SessionRecord, called: str) -> bool:
    if record.name == called:  # which is not empty
        return True
    of_tenant = record.session_id.rpartition(".")[2]
    return len(called) >= PREFIX_CHARACTERS and (record.session_id.startswith(called) or of_tenant.startswith(called))
