"""JSON Web Tokens of an issuer: verified against its keys, which are fetched when one is unknown, and not too often."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
import orjson
from starlette.requests import Request

from htcgrid_core.api.auth.authenticator import CHALLENGE, bearer_token
from htcgrid_core.api.auth.principal import ALL_TENANTS, Principal, Scope
from htcgrid_core.api.failure import Failure
from htcgrid_core.codecs import problems
from htcgrid_core.codecs.problems import KINDS
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.session import TENANT

TENANTS_CLAIM = "htcgrid_tenants"
SCOPE_PREFIX = "htcgrid/"  # as Cognito writes scopes: of one resource server among several
TENANT_SCOPE = "tenant."  # of scopes that name a tenant: Cognito lets programs' tokens say nothing else
ALGORITHMS = ("RS256", "ES256")  # never one whose key is secret: the issuer's is public
LEEWAY_SECONDS = 30.0
FRESH_SECONDS = 3600.0  # for which fetched keys are not fetched again
STALE_SECONDS = 86400.0  # for which they are good while the issuer cannot be reached
REST_SECONDS = 5.0  # between two fetches, however many tokens name unknown keys
FETCH_SECONDS = 5.0
MAX_KEYS_BYTES = 1 << 20

Fetch = Callable[[str], bytes]


@dataclass(frozen=True)
class Issuer:
    """Whose tokens are good.

    Attributes:
        url: its name, as ``iss``.
        keys_url: of its keys (JWKS); empty for Cognito's place below ``url``.
        audiences: one of which ``aud`` must be; none for Cognito, whose access tokens have none.
        clients: one of which ``client_id`` must be, if there are any; Cognito must have some.
        tenants_claim: of the tenants that a principal acts for: a list, or a text with spaces.
        scope_prefix: with which this service's scopes begin, unlike those of others that the same token opens.
    """

    url: str
    keys_url: str = ""
    audiences: Sequence[str] = ()
    clients: Sequence[str] = ()
    tenants_claim: str = TENANTS_CLAIM
    scope_prefix: str = SCOPE_PREFIX

    def __post_init__(self) -> None:
        for url in (self.url, self.jwks):
            parts = urlsplit(url)
            if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
                raise InvalidInput(f"an issuer's address begins with https://, unlike {url!r}")
        if not self.audiences and not self.clients:
            raise InvalidInput(
                f"say for which audiences, or clients, tokens of {self.url} are made: others are no good"
            )

    @property
    def jwks(self) -> str:
        """Where its keys are."""
        return self.keys_url or f"{self.url.rstrip('/')}/.well-known/jwks.json"


class IssuerKeys:
    """An issuer's public keys, by their ids. May be used from many threads."""

    def __init__(self, url: str, fetch: Fetch | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._fetch = fetch or _fetched
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = float("-inf")

    def known(self, key_id: str) -> jwt.PyJWK | None:
        """A key that need not be fetched; None if that must be tried."""
        is_fresh = self._monotonic() - self._fetched_at < FRESH_SECONDS
        return self._keys.get(key_id) if is_fresh else None

    def find(self, key_id: str) -> jwt.PyJWK | None:
        """A key; None if the issuer has none of this id. May block.

        Raises:
            Failure: the issuer cannot be asked.
        """
        with self._lock:
            found = self.known(key_id)
            if found is not None:
                return found
            now = self._monotonic()
            if now - self._tried_at >= REST_SECONDS:
                self._tried_at = now
                self._read(now)
            if now - self._fetched_at > STALE_SECONDS:
                raise Failure(KINDS["grid-unavailable"], "the issuer of tokens cannot be asked for its keys now")
            return self._keys.get(key_id)

    def _read(self, now: float) -> None:
        try:
            found = jwt.PyJWKSet.from_dict(orjson.loads(self._fetch(self._url)))
        except (OSError, ValueError, jwt.PyJWTError):  # what it said before is good for a while
            return
        self._keys = {key.key_id: key for key in found.keys if key.key_id}
        self._fetched_at = now


def _fetched(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - an Issuer's
    with urllib.request.urlopen(request, timeout=FETCH_SECONDS) as answer:  # noqa: S310
        data: bytes = answer.read(MAX_KEYS_BYTES)
        return data


class TokenWay:
    """A token of an issuer as bearer token."""

    def __init__(self, issuer: Issuer, keys: IssuerKeys | None = None) -> None:
        self._issuer = issuer
        self._keys = keys or IssuerKeys(issuer.jwks)

    async def principal(self, request: Request) -> Principal | None:
        """See ``Way``."""
        token = bearer_token(request)
        if token is None or token.count(".") != 2:
            return None
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except jwt.PyJWTError:
            return None
        if not isinstance(key_id, str):
            raise _refused("it names no key")
        key = self._keys.known(key_id) or await asyncio.to_thread(self._keys.find, key_id)
        if key is None:
            raise _refused("its key is none of its issuer's")
        return principal_of(self._issuer, self._claims(token, key))

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        issuer = self._issuer
        try:
            found: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=list(ALGORITHMS),
                issuer=issuer.url,
                audience=list(issuer.audiences) or None,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss"], "verify_aud": bool(issuer.audiences)},
            )
        except jwt.ExpiredSignatureError:
            raise Failure(problems.EXPIRED, "the token has expired: get a new one", headers=CHALLENGE) from None
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            raise _refused(str(error)) from None
        return found


def principal_of(issuer: Issuer, claims: Mapping[str, Any]) -> Principal:
    """Whose claims these are, which were verified.

    Raises:
        Failure: they are not for this service.
    """
    client = claims.get("client_id", claims.get("azp"))
    if issuer.clients and client not in issuer.clients:
        raise _refused("it was made for another client")
    if not issuer.audiences and claims.get("token_use") != "access":
        raise _refused("it is no access token")
    said = claims.get("scope", claims.get("scp", ""))
    scopes = said if isinstance(said, list) else str(said).split()
    known = {f"{issuer.scope_prefix}{scope}": scope for scope in Scope}
    name = claims.get("username") or claims.get("sub") or client
    if not isinstance(name, str) or not name:
        raise _refused("it says nothing of whose it is")
    granted = frozenset(known[one] for one in scopes if one in known)
    return Principal(name[:128], granted, _tenants(issuer, claims, scopes))


def _tenants(issuer: Issuer, claims: Mapping[str, Any], scopes: Sequence[Any]) -> frozenset[str]:
    said = claims.get(issuer.tenants_claim, ())
    listed = said.replace(",", " ").split() if isinstance(said, str) else list(said) if isinstance(said, list) else []
    prefix = f"{issuer.scope_prefix}{TENANT_SCOPE}"
    listed += [one.removeprefix(prefix) for one in scopes if isinstance(one, str) and one.startswith(prefix)]
    return frozenset(one for one in listed if isinstance(one, str) and (one == ALL_TENANTS or TENANT.fullmatch(one)))


def _refused(why: str) -> Failure:
    return Failure(problems.UNAUTHORIZED, f"the token is no good: {why}", headers=CHALLENGE)
