"""Keys that are kept elsewhere than in a file: read now and then, and known meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from htcgrid_core.api.auth.keys import Key, KeyTable, parse_keys
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridError, GridUnavailable, InvalidInput

STALE_SECONDS = 600.0  # for which keys that were read are good while they cannot be read again
REST_SECONDS = 1.0  # between two tries to read them, while nobody is let in
_log = logging.getLogger(__name__)


class KeptKeys:
    """Keys in the text of a key file, wherever that is; read again after ``limits.KEYS_KNOWN_SECONDS``.

    Args:
        where: they are, for messages.
        read: the text now. It may block, and is called when keys are looked for: this is for one request at a time.
    """

    def __init__(self, where: str, read: Callable[[], str], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._where = where
        self._read = read
        self._monotonic = monotonic
        self._table = KeyTable()
        self._read_at = self._tried_at = float("-inf")

    def by_secret(self, token: str) -> Key | None:
        """See ``Keys``."""
        return self._current().by_secret(token)

    def by_id(self, key_id: str) -> Key | None:
        """See ``Keys``."""
        return self._current().by_id(key_id)

    def _current(self) -> KeyTable:
        now = self._monotonic()
        is_known = now - self._read_at <= STALE_SECONDS
        if now - self._tried_at >= (limits.KEYS_KNOWN_SECONDS if is_known else REST_SECONDS):
            self._tried_at = now
            try:
                self._table = KeyTable(parse_keys(self._read(), self._where))
                self._read_at = now
            except InvalidInput as error:  # somebody has put it there: who was removed must not stay in
                self._read_at = float("-inf")
                _log.error("%s; until it is mended nobody is let in", error)
            except GridError as error:
                _log.warning("the keys in %s cannot be read now: %s", self._where, error)
        if now - self._read_at > STALE_SECONDS:  # what is wrong is the operator's to know
            raise GridUnavailable("the server cannot read its keys, as its log tells")
        return self._table
