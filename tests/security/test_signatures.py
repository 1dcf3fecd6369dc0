"""Signed requests: whatever was changed after it was signed, made long ago, or signed by nobody, is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from htcgrid_core.api.auth.keys import KeyFile, write_keys
from htcgrid_core.api.auth.signatures import Signed, Unsigned, key_of
from tests.served import key

KEY = key("desk", "submit", "acme")
OTHER = key("other", "submit", "other")
EXPIRED = key("expired", "submit", "acme", expires_at=time.time() - 1)
BODY = b'{"years": 1}'
URL = "http://127.0.0.1:8080/2015-03-31/functions/pricing%3A1/invocations?Qualifier=a%20b&b=%2B&A=1"
Request = dict[str, Any]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    path: Path = tmp_path_factory.mktemp("keys") / "keys.json"
    write_keys(path, [KEY, OTHER, EXPIRED])
    return KeyFile(path)


def _signed(signer: Any = KEY, service: str = "lambda", headers: dict[str, str] | None = None) -> Request:
    """A request as botocore signs it."""
    made = AWSRequest("POST", URL, data=BODY, headers={"X-Amz-Invocation-Type": "Event", **(headers or {})})
    SigV4Auth(Credentials(signer.id, signer.secret), service, "eu-west-1").add_auth(made)
    path, _, query = URL.partition("8080")[2].partition("?")
    found = {name.lower(): value for name, value in made.headers.items()}
    return {
        "method": "POST",
        "path": path,
        "query": query,
        "headers": {"host": "127.0.0.1:8080", **found},
        "body": BODY,
    }


def _check(keys: KeyFile, request: Request) -> str:
    signed = Signed(request["method"], request["path"], request["query"], list(request["headers"].items()))
    found = key_of(keys, signed)
    signed.verify(found, request["body"])
    return found.name


def test_what_botocore_signs(keys: KeyFile) -> None:
    assert _check(keys, _signed()) == "desk"
    assert _check(keys, _signed(OTHER)) == "other"
    assert _check(keys, _signed(headers={"X-Amz-Client-Context": "  a   b "})) == "desk"


def _with(name: str, value: str) -> Callable[[Request], None]:
    return lambda request: request["headers"].update({name: value})


def _said(old: str, new: str) -> Callable[[Request], None]:
    """With another Authorization."""

    def change(request: Request) -> None:
        request["headers"]["authorization"] = request["headers"]["authorization"].replace(old, new)

    return change


CHANGES: dict[str, Callable[[Request], None]] = {
    "another body": lambda request: request.update(body=b'{"years": 2}'),
    "another path": lambda request: request.update(path=request["path"].replace("pricing", "risk")),
    "another query": lambda request: request.update(query=request["query"].replace("A=1", "A=2")),
    "one more parameter": lambda request: request.update(query=request["query"] + "&c=1"),
    "another method": lambda request: request.update(method="PUT"),
    "another host": _with("host", "127.0.0.1:8081"),
    "another type": _with("x-amz-invocation-type", "DryRun"),
    "a header that is not signed": _with("x-amz-log-type", "Tail"),
    "an unsigned payload": _with("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
    "a streamed payload": _with("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
    "a signature in the query": lambda request: request.update(query=request["query"] + "&X-Amz-Signature=00"),
    "a time that is none": _with("x-amz-date", "20261129"),
    "another's key": _said(KEY.id, OTHER.id),
    "a key of nobody": _said(KEY.id, "HTCG" + "0" * 16),
    "no signature": _with("authorization", "AWS4-HMAC-SHA256 Credential=a"),
    "a bearer": _with("authorization", f"Bearer {KEY.secret}"),
    "fewer signed headers": _said(";x-amz-date", ""),
    "nothing": lambda request: request["headers"].pop("authorization"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_refused(keys: KeyFile, change: str) -> None:
    request = _signed()
    CHANGES[change](request)
    with pytest.raises(Unsigned):
        _check(keys, request)


@pytest.mark.parametrize("service", ["s3", "execute-api"])
def test_what_is_signed_for_another_service_is_refused(keys: KeyFile, service: str) -> None:
    with pytest.raises(Unsigned):
        _check(keys, _signed(service=service))


@pytest.mark.parametrize("seconds", [-400, 400])
def test_what_is_not_of_now_is_refused(keys: KeyFile, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    request, now = _signed(), time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds)
    with pytest.raises(Unsigned, match="expired"):
        _check(keys, request)


def test_keys_that_are_no_good(keys: KeyFile) -> None:
    with pytest.raises(Unsigned) as caught:
        _check(keys, _signed(EXPIRED))
    assert caught.value.code == "ExpiredTokenException"
    guessed = KEY.model_copy(update={"secret": OTHER.secret})
    with pytest.raises(Unsigned) as caught:
        _check(keys, _signed(guessed))
    assert caught.value.code == "InvalidSignatureException"
