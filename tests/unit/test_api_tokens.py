"""Tokens of an issuer: only those that it made, for this service, for now."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.requests import Request

from htcgrid_core.api.auth.principal import Principal, Scope
from htcgrid_core.api.auth.tokens import REST_SECONDS, STALE_SECONDS, Issuer, IssuerKeys, TokenWay
from htcgrid_core.api.failure import Failure
from htcgrid_core.domain.errors import InvalidInput

URL = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_test"
COGNITO = Issuer(URL, clients=["desk"])
OTHERS = Issuer("https://login.example", keys_url="https://login.example/keys", audiences=["htcgrid"])


class World:
    """An issuer whose keys may be rotated, and that may be down."""

    def __init__(self) -> None:
        self.secrets = {"one": rsa.generate_private_key(65537, 2048)}
        self.now = 1000.0
        self.fetches = 0
        self.is_down = False
        self.keys = IssuerKeys("https://issuer", self._fetch, lambda: self.now)

    def _fetch(self, url: str) -> bytes:
        self.fetches += 1
        if self.is_down:
            raise OSError("down")
        keys = []
        for name, secret in self.secrets.items():
            public = jwt.algorithms.RSAAlgorithm.to_jwk(secret.public_key(), as_dict=True)
            keys.append({**public, "kid": name, "use": "sig", "alg": "RS256"})
        return json.dumps({"keys": keys}).encode()

    def token(self, claims: dict[str, Any], *, kid: str = "one", secret: Any = None, algorithm: str = "RS256") -> str:
        return jwt.encode(claims, secret or self.secrets[kid], algorithm, headers={"kid": kid})

    def asked(self, token: str, issuer: Issuer = COGNITO) -> Principal | None:
        request = Request({"type": "http", "headers": [(b"authorization", f"Bearer {token}".encode())]})
        return asyncio.run(TokenWay(issuer, self.keys).principal(request))


def _access(**changed: Any) -> dict[str, Any]:
    claims = {
        "iss": URL, "sub": "1234", "client_id": "desk", "token_use": "access", "exp": time.time() + 60,
        "scope": "htcgrid/read htcgrid/submit other/code openid", "htcgrid_tenants": "acme",
    }  # fmt: skip
    return {name: value for name, value in {**claims, **changed}.items() if value is not None}


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_an_access_token_of_cognito(world: World) -> None:
    found = world.asked(world.token(_access()))
    assert found == Principal("1234", frozenset({Scope.READ, Scope.SUBMIT}), frozenset({"acme"}))


def test_scopes_name_tenants_too(world: World) -> None:
    scope = "htcgrid/read htcgrid/tenant.rates htcgrid/tenant.* htcgrid/tenant.NO other/tenant.fx"
    found = world.asked(world.token(_access(scope=scope)))
    assert found is not None
    assert found.tenants == {"acme", "rates", "*"}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"exp": time.time() - 3600}, "credentials-expired"),
        ({"exp": None}, "unauthorized"),
        ({"nbf": time.time() + 3600}, "unauthorized"),
        ({"iss": "https://elsewhere"}, "unauthorized"),
        ({"client_id": "another"}, "unauthorized"),
        ({"client_id": None}, "unauthorized"),
        ({"token_use": "id"}, "unauthorized"),
        ({"sub": None}, None),
    ],
)
def test_what_a_token_must_say(world: World, changed: dict[str, Any], code: str | None) -> None:
    if code is None:  # a client's own token names the client
        assert world.asked(world.token(_access(**changed))) is not None
        return
    with pytest.raises(Failure) as caught:
        world.asked(world.token(_access(**changed)))
    assert caught.value.problem.kind.code == code


def _signed_with_the_public_key(key: bytes) -> str:
    """As if what everybody knows were a secret."""

    def encoded(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    head = encoded(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "one"}).encode())
    signed = head + b"." + encoded(json.dumps(_access()).encode())
    return (signed + b"." + encoded(hmac.digest(key, signed, "sha256"))).decode()


def test_forged_tokens(world: World) -> None:
    public = jwt.algorithms.RSAAlgorithm.to_jwk(world.secrets["one"].public_key())
    forged = [
        world.token(_access(), secret=rsa.generate_private_key(65537, 2048)),
        _signed_with_the_public_key(public.encode()),
        jwt.encode(_access(), "", "none", headers={"kid": "one"}),
        jwt.encode(_access(), world.secrets["one"], "RS256"),
        world.token(_access())[:-4] + "AAAA",
    ]
    for token in forged:
        with pytest.raises(Failure) as caught:
            world.asked(token)
        assert caught.value.problem.kind.code == "unauthorized"
    assert world.asked("a.b.c") is None
    assert world.asked("htcgrid_key") is None


def test_an_issuer_with_audiences(world: World) -> None:
    claims = {
        "iss": OTHERS.url, "aud": "htcgrid", "sub": "me", "exp": time.time() + 60, "scope": "htcgrid/code",
        "htcgrid_tenants": ["acme", "other", "NOT ONE"],
    }  # fmt: skip
    found = world.asked(world.token(claims), OTHERS)
    assert found == Principal("me", frozenset({Scope.CODE}), frozenset({"acme", "other"}))
    for wrong in ({**claims, "aud": "elsewhere"}, {name: claims[name] for name in claims if name != "aud"}):
        with pytest.raises(Failure):
            world.asked(world.token(wrong), OTHERS)


def test_keys_are_rotated_and_never_asked_for_too_often() -> None:
    world = World()
    world.asked(world.token(_access()))
    assert world.fetches == 1
    for _ in range(20):
        with pytest.raises(Failure):
            world.asked(world.token(_access(), kid="forged", secret=world.secrets["one"]))
    assert world.fetches == 1
    world.secrets["two"] = rsa.generate_private_key(65537, 2048)
    world.now += REST_SECONDS
    assert world.asked(world.token(_access(), kid="two")) is not None
    assert world.fetches == 2


def test_known_keys_outlive_an_outage_of_a_day() -> None:
    world = World()
    world.asked(world.token(_access()))
    world.is_down = True
    world.now += STALE_SECONDS / 2
    assert world.asked(world.token(_access())) is not None
    world.now += STALE_SECONDS
    with pytest.raises(Failure) as caught:
        world.asked(world.token(_access()))
    assert caught.value.problem.kind.status == 503


def test_an_issuer_that_would_let_everybody_in_is_refused() -> None:
    with pytest.raises(InvalidInput, match="audiences"):
        Issuer(URL)
    with pytest.raises(InvalidInput, match="https"):
        Issuer("http://login.example", audiences=["a"])
