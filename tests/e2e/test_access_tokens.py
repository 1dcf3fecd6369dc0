"""Access tokens of Cognito, as its emulator makes them, open a server: by scope, by tenant and by client."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from htcgrid_core import AccessDenied, connect
from htcgrid_core.testing import handlers
from tests.aws.emulators import Account
from tests.e2e.support import fresh_grid
from tests.rest import Rest
from tests.served import Server, serving

HANDLER = f"{handlers.__name__}.{handlers.task.__name__}"


@dataclass
class Pool:
    """A user pool with a resource server, and clients that are programs."""

    account: Account
    scopes: tuple[str, ...] = ("read", "submit", "code", "tenant.acme")

    def __post_init__(self) -> None:
        self._cognito: Any = self.account.client("cognito-idp")
        self.id = self._cognito.create_user_pool(PoolName="traders")["UserPool"]["Id"]
        named = [{"ScopeName": scope, "ScopeDescription": scope} for scope in self.scopes]
        self._cognito.create_resource_server(UserPoolId=self.id, Identifier="htcgrid", Name="grid", Scopes=named)
        self._secrets: dict[str, str] = {}

    def client(self, *scopes: str) -> str:
        """The id of one more client, which may ask for these."""
        made = self._cognito.create_user_pool_client(
            UserPoolId=self.id, ClientName="a-program", GenerateSecret=True, AllowedOAuthFlowsUserPoolClient=True,
            AllowedOAuthFlows=["client_credentials"], AllowedOAuthScopes=[f"htcgrid/{scope}" for scope in scopes],
        )["UserPoolClient"]  # fmt: skip
        self._secrets[made["ClientId"]] = made["ClientSecret"]
        return str(made["ClientId"])

    def token(self, client: str, *scopes: str) -> str:
        """An access token."""
        pair = base64.b64encode(f"{client}:{self._secrets[client]}".encode()).decode()
        asked = {"grant_type": "client_credentials", "scope": " ".join(f"htcgrid/{one}" for one in scopes)}
        headers = {"Authorization": f"Basic {pair}", "Content-Type": "application/x-www-form-urlencoded"}
        request = urllib.request.Request(f"{self.account.url}/oauth2/token", urlencode(asked).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(json.load(answer)["access_token"])

    @property
    def keys_url(self) -> str:
        """Of its public keys."""
        return f"{self.account.url}/{self.id}/.well-known/jwks.json"


@pytest.fixture(scope="module")
def pool(ministack_url: str) -> Pool:
    """One for all of these tests."""
    return Pool(Account(ministack_url))


@pytest.fixture(scope="module")
def clients(pool: Pool) -> tuple[str, str]:
    """A client that the server knows, and one of the same pool that it does not."""
    return pool.client("read", "submit", "code", "tenant.acme"), pool.client("read", "tenant.acme")


def claims_of(token: str) -> dict[str, Any]:
    """Without a look at the signature."""
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


@pytest.fixture(scope="module")
def server(pool: Pool, clients: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that takes tokens of the first client."""
    folder: Path = tmp_path_factory.mktemp("tokens")
    issuer = claims_of(pool.token(clients[0], "read"))["iss"]
    options = ("--jwt-issuer", issuer, "--jwt-keys-url", pool.keys_url, "--jwt-client", clients[0])
    with (
        fresh_grid(folder / "grid") as url,
        serving(url, folder / "keys.json", *options) as running,
    ):
        yield running


def test_a_token_has_the_claims_of_cognito(pool: Pool, clients: tuple[str, str]) -> None:
    claims = claims_of(pool.token(clients[0], "read", "submit"))
    assert claims["token_use"] == "access"
    assert claims["client_id"] == clients[0]
    assert set(claims["scope"].split()) == {"htcgrid/read", "htcgrid/submit"}
    assert "aud" not in claims


def test_a_token_runs_a_session_of_its_tenant(server: Server, pool: Pool, clients: tuple[str, str]) -> None:
    token = pool.token(clients[0], "read", "submit", "code", "tenant.acme")
    with connect(server.url, api_token=token) as grid:
        session = grid.submit(HANDLER, [7], tenant="acme")
        assert list(session.results()) == [14]
        assert session.id.startswith("acme.")
    (own,) = Rest(server.url, token).get("/v1/sessions").json["sessions"]
    assert own["tenant"] == "acme"


def test_a_token_with_less_scope_may_do_less(server: Server, pool: Pool, clients: tuple[str, str]) -> None:
    rest = Rest(server.url, pool.token(clients[0], "read", "tenant.acme"))
    assert rest.get("/v1/sessions").status == 200
    refused = rest.post("/v1/sessions", {"function": HANDLER, "events": [1], "tenant": "acme"})
    assert (refused.status, refused.json["code"]) == (403, "forbidden")
    nobodys = Rest(server.url, pool.token(clients[0], "read", "submit", "code"))  # of no tenant
    assert nobodys.get("/v1/sessions").json["sessions"] == []
    assert nobodys.post("/v1/sessions", {"function": HANDLER, "events": [1], "tenant": "acme"}).status in (403, 404)


def test_tokens_that_are_no_good(server: Server, pool: Pool, clients: tuple[str, str]) -> None:
    good = pool.token(clients[0], "read")
    head, body, signature = good.split(".")
    forged = base64.urlsafe_b64encode(json.dumps({**claims_of(good), "scope": "htcgrid/code"}).encode()).decode()
    for token in (
        pool.token(clients[1], "read"),  # of a client that the server does not know
        f"{head}.{forged.rstrip('=')}.{signature}",
        f"{head}.{body}.{signature[:-8]}AAAAAAAA",
    ):
        assert Rest(server.url, token).get("/v1/sessions").status == 401
        with pytest.raises(AccessDenied):
            connect(server.url, api_token=token).sessions()
