"""The REST API's function over a grid on an emulator: as a client has it behind API Gateway, and what it may do."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from htcgrid_core import connect
from htcgrid_core.cloud.plane import CloudPlane
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.lambdas import rest_api
from tests.api_gateway import ACCOUNT, api_gateway, event_of
from tests.aws.emulators import Account
from tests.aws.function_agents import Context
from tests.aws.grids import CloudUnderTest, cloud
from tests.aws.kept_keys import secret_of_keys, text_of
from tests.aws.lambda_permissions import Need, allowed, recorded
from tests.served import key

DOUBLE = "tests.e2e.handlers.double"
DESK = f"arn:aws:sts::{ACCOUNT}:assumed-role/desk/ann"
CALLERS = [
    {"arn": f"arn:aws:iam::{ACCOUNT}:role/desk", "scopes": ["read", "submit", "code"], "tenants": ["rates"]},
    {"arn": f"arn:aws:iam::{ACCOUNT}:user/operator", "scopes": ["read", "operate"], "tenants": ["*"]},
]
PARAMETER = "/htcgrid/book/api-keys"


@pytest.fixture(scope="module")
def running(ministack_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudUnderTest]:
    """A grid with an agent."""
    folder = tmp_path_factory.mktemp("grid")
    with pytest.MonkeyPatch.context() as patch, cloud(Account(ministack_url), folder, patch) as found:
        found.start_agent()
        yield found


def put_keys(account: Account, *keys: Any) -> None:
    """As an operator does: the text of a file of ``htcgrid api-keys``."""
    account.client("ssm").put_parameter(Name=PARAMETER, Type="SecureString", Value=text_of(*keys), Overwrite=True)


def test_a_client_behind_api_gateway(running: CloudUnderTest) -> None:
    """Environments of the function stand still between requests, and come and go; keys are those of a parameter."""
    desk = key("desk")
    put_keys(running.account, desk)
    given = {**running.environment, "HTCGRID_URL": running.url, "HTCGRID_API_KEYS": PARAMETER}
    with (
        api_gateway("htcgrid_core.lambdas.rest_api", given, freezes=True) as (url, function),
        connect(url, api_token=desk.secret) as grid,
    ):
        large = [str(number) * 900_000 for number in range(6)]  # an upload of two parts, and results on two pages
        session = grid.submit("tests.e2e.handlers.echo", large)
        assert session.wait(120).completed == 6
        assert list(session.results()) == large
        assert function({}) == {"uploads": 0, "submitted": 0}


Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def ask(running: CloudUnderTest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Asks the function in this process, as who signed."""
    monkeypatch.setenv("HTCGRID_URL", running.url)
    monkeypatch.setenv("HTCGRID_API_CALLERS", json.dumps(CALLERS))
    rest_api._opened.cache_clear()

    def asked(
        method: str, path: str, body: Any = None, *, who: str = DESK, media: str = "application/json", **query: Any
    ) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        target = f"{path}?{urlencode(query)}" if query else path
        headers = {"content-type": media, "content-length": str(len(data))}
        answer = rest_api.handler(event_of(method, target, headers, data, iam=who), Context(60))
        text = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer.get("body", "").encode()
        kind = answer["headers"].get("content-type", "")
        if "ndjson" in kind:
            return answer["statusCode"], [json.loads(line) for line in text.splitlines()]
        return answer["statusCode"], json.loads(text) if "json" in kind and text else text

    yield asked
    rest_api._opened().close()
    rest_api._opened.cache_clear()


def test_iam_says_who_asks(ask: Ask) -> None:
    """A role's sessions are its tenant's; who is no caller, or signed nothing, gets nowhere."""
    status, session = ask("POST", "/v1/sessions", {"function": DOUBLE, "events": [1, 2]})
    assert (status, session["tenant"]) == (201, "rates")
    _, waited = ask("POST", "/v1/wait", {"sessions": [session["id"]]})
    assert (waited["done"], waited["sessions"][0]["state"]) == (True, "COMPLETED")
    assert [line["result"] for line in ask("GET", f"/v1/sessions/{session['id']}/results")[1]] == [2, 4]
    _, history = ask("GET", f"/v1/sessions/{session['id']}/history")
    assert history["entries"][0]["actor"] == f"{ACCOUNT}:assumed-role/desk/ann"
    stranger = ask("GET", "/v1/grid", who=f"arn:aws:sts::{ACCOUNT}:assumed-role/other/ann")
    assert (stranger[0], stranger[1]["code"]) == (403, "forbidden")
    assert ask("GET", "/v1/grid", who="")[0] == 401
    assert ask("GET", "/v1/agents")[0] == 403
    assert ask("GET", "/v1/agents", who=f"arn:aws:iam::{ACCOUNT}:user/operator")[0] == 200


def test_uploads_that_were_left_are_submitted(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their client went, and the environment that had begun with them: the schedule's next tick does it."""
    _, opened = ask("POST", "/v1/sessions", {"function": DOUBLE})
    path = f"/v1/sessions/{opened['id']}"
    assert ask("PUT", f"{path}/parts/0", b"1\n2\n", media="application/x-ndjson")[0] == 200
    rest_api._opened()._service.grid.seal(opened["id"], 1)
    assert rest_api.handler({}, Context(60)) == {"uploads": 1, "submitted": 1}
    assert ask("GET", path)[1]["total"] == 2


def test_nobody_is_let_in_by_nothing(running: CloudUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTCGRID_URL", running.url)
    rest_api._opened.cache_clear()
    with pytest.raises(InvalidInput, match="nobody could ask"):
        rest_api.handler({}, Context(60))


def test_keys_may_be_in_a_secret(running: CloudUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = key("desk")
    monkeypatch.setenv("HTCGRID_URL", running.url)
    monkeypatch.setenv("HTCGRID_API_KEYS", secret_of_keys(running.account, "keys-of-the-function", desk))
    rest_api._opened.cache_clear()
    for token, status in ((desk.secret, 200), (key("other").secret, 401)):
        event = event_of("GET", "/v1/grid", {"authorization": f"Bearer {token}"}, b"", iam="")
        assert rest_api.handler(event, Context(60))["statusCode"] == status
    rest_api._opened().close()
    rest_api._opened.cache_clear()


def test_what_it_may_do_is_what_it_does(ask: Ask, running: CloudUnderTest, tmp_path: Path) -> None:
    """Every call is among the permissions of its page."""
    ask("GET", "/v1/grid")
    here: CloudPlane = rest_api._opened()._service.grid.gateway.deployment.cloud  # type: ignore[attr-defined]
    operator = f"arn:aws:iam::{ACCOUNT}:user/operator"
    made: set[Need]
    with recorded(here, {}) as made:
        day(ask, operator)
    assert ("s3:DeleteObject", "bucket/*") in made
    assert made <= allowed("rest_api"), made - allowed("rest_api")


def day(ask: Ask, operator: str) -> None:
    """Whatever can be asked for, more or less."""
    for path in ("/healthz", "/v1/version", "/v1/grid", "/v1/functions", "/v1/sessions", "/v1/load"):
        assert ask("GET", path)[0] == 200
    assert ask("GET", "/v1/ended", after=0)[0] == 200
    assert (
        ask("PUT", "/v1/destinations/ends", {"target": f"arn:aws:sqs:eu-west-1:{ACCOUNT}:none"}, who=operator)[0] == 200
    )
    assert ask("GET", "/v1/destinations", who=operator)[0] == 200
    assert ask("DELETE", "/v1/destinations/ends", who=operator)[0] == 204
    assert ask("GET", "/v1/agents", who=operator)[0] == 200
    assert ask("POST", "/v1/shared", {"curve": [1, 2]})[0] == 201
    _, opened = ask("POST", "/v1/sessions", {"function": DOUBLE})
    path = f"/v1/sessions/{opened['id']}"
    assert ask("PUT", f"{path}/parts/0", b"1\n2\n", media="application/x-ndjson")[0] == 200
    assert ask("GET", f"{path}/parts")[1] == {"parts": [0]}
    assert ask("POST", f"{path}/seal", {"parts": 1})[0] == 200
    assert ask("POST", "/v1/wait", {"sessions": [opened["id"]]})[1]["done"]
    for what in ("", "/results", "/outcomes", "/tasks", "/tasks/1", "/events", "/history", "/notifications", "/watch"):
        assert ask("GET", path + what)[0] == 200, what
    assert ask("POST", "/v1/progress", {"sessions": [opened["id"]]})[0] == 200
    failing = ask("POST", "/v1/sessions", {"function": "tests.e2e.handlers.fail_odd", "events": [1]})[1]["id"]
    assert ask("POST", "/v1/wait", {"sessions": [failing]})[1]["done"]
    assert ask("POST", f"/v1/sessions/{failing}/resubmit", {})[0] == 201
    large = ask("POST", "/v1/sessions", {"function": DOUBLE, "events": list(range(2000)), "timeout": 60})[1]["id"]
    assert ask("POST", f"/v1/sessions/{large}/adopt", {"owner": "me"})[0] == 200
    assert ask("POST", f"/v1/sessions/{large}/cancel", {})[0] == 200
