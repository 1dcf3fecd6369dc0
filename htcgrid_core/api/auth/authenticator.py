"""From a request to its principal: one way after the other, and then how often this one may ask."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from starlette.requests import Request

from htcgrid_core.api.auth.keys import Keys
from htcgrid_core.api.auth.principal import Principal
from htcgrid_core.api.failure import Failure
from htcgrid_core.codecs import problems

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="htcgrid"'}


class Way(Protocol):
    """One way to prove who asks."""

    async def principal(self, request: Request) -> Principal | None:
        """Who asks; None if the request has no credentials of this kind.

        Raises:
            Failure: it has, and they are no good.
        """


class Authenticator:
    """Who asks, by the first way that knows."""

    def __init__(self, ways: Sequence[Way]) -> None:
        self._ways = ways

    async def principal(self, request: Request) -> Principal:
        """Who asks.

        Raises:
            Failure: nobody who is known.
        """
        for way in self._ways:
            found = await way.principal(request)
            if found is not None:
                return found
        raise Failure(problems.UNAUTHORIZED, "give valid credentials: Authorization: Bearer KEY", headers=CHALLENGE)


def bearer_token(request: Request) -> str | None:
    """The token of an Authorization header; None if there is none of this kind."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else None


class KeyWay:
    """A key as bearer token."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def principal(self, request: Request) -> Principal | None:
        """See ``Way``."""
        token = bearer_token(request)
        key = self._keys.by_secret(token) if token else None
        if key is None:
            return None
        if key.expires_at is not None and key.expires_at <= time.time():
            raise Failure(problems.EXPIRED, f"key {key.id} has expired: use a newer one", headers=CHALLENGE)
        return key.principal
