"""Signature Version 4: a request that is signed with a key's secret, as AWS's SDKs do, and not with the secret itself.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv4-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote

from htcgrid_core.api.auth.keys import Key, Keys

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_SECONDS = 300.0
_CREDENTIAL = re.compile(
    r"(?P<key>[A-Z0-9]{16,32})/(?P<day>\d{8})/(?P<region>[a-z0-9-]{1,32})/(?P<service>[a-z0-9-]{1,32})/aws4_request"
)
_PART = re.compile(r"\s*(Credential|SignedHeaders|Signature)=([^,\s]+)\s*")
_SPACES = re.compile(r"\s+")
_SIGNED_ALWAYS = ("host", "x-amz-date")


class Unsigned(Exception):
    """A request that is not signed as it must be.

    Attributes:
        code: in the names of AWS.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Signed:
    """A request's signature: who is said to have made it, before that is verified.

    Args:
        path: as it was sent, with its escapes.
        query: likewise.
        headers: every header, with its name in small letters; one that is there twice, twice.

    Raises:
        Unsigned: there is none, or it is not of this kind.
    """

    def __init__(self, method: str, path: str, query: str, headers: Sequence[tuple[str, str]]) -> None:
        self._method, self._path, self._query = method, path, query
        self._headers = headers
        found = self._parts()
        credential = _CREDENTIAL.fullmatch(found.get("Credential", ""))
        self._names = found.get("SignedHeaders", "").split(";")
        self._signature = found.get("Signature", "")
        if credential is None or not self._signature:
            raise Unsigned("IncompleteSignatureException", "the Authorization header is not whole")
        self.key_id, self._day = credential["key"], credential["day"]
        self._scope = found["Credential"].partition("/")[2]
        self.region, self._service = credential["region"], credential["service"]
        self._check_what_is_signed()

    def _one(self, name: str) -> str:
        values = [value for header, value in self._headers if header == name]
        if len(values) > 1:
            raise Unsigned("InvalidSignatureException", f"there is more than one {name}")
        return values[0] if values else ""

    def _parts(self) -> Mapping[str, str]:
        if "x-amz-signature" in self._query.lower():
            raise Unsigned("MissingAuthenticationTokenException", "sign the headers: signatures in queries are refused")
        algorithm, _, rest = self._one("authorization").partition(" ")
        if algorithm != ALGORITHM:
            raise Unsigned("MissingAuthenticationTokenException", f"the request is not signed with {ALGORITHM}")
        parts = [match for part in rest.split(",") if (match := _PART.fullmatch(part))]
        return {str(match[1]): str(match[2]) for match in parts}

    def _check_what_is_signed(self) -> None:
        must = {name for name, _ in self._headers if name.startswith("x-amz-")} | set(_SIGNED_ALWAYS)
        if missing := sorted(must - set(self._names)):
            raise Unsigned("InvalidSignatureException", f"these headers must be signed: {', '.join(missing)}")
        declared = self._one("x-amz-content-sha256")
        if declared and not re.fullmatch("[0-9a-f]{64}", declared):
            raise Unsigned("InvalidSignatureException", "the payload must be signed, as a whole")
        if self._service != "lambda":
            raise Unsigned("InvalidSignatureException", f"it is signed for {self._service}, not for lambda")

    def check_time(self, now: float) -> None:
        """Whether it was made about now.

        Raises:
            Unsigned: it was not.
        """
        stamp = self._one("x-amz-date")
        try:
            at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise Unsigned("InvalidSignatureException", "X-Amz-Date is no time") from None
        if not stamp.startswith(self._day) or abs(at - now) > SKEW_SECONDS:
            raise Unsigned("InvalidSignatureException", "Signature expired: it was made more than 5 minutes from now")

    def verify(self, key: Key, body: bytes) -> None:
        """Whether a key's holder has signed this.

        Raises:
            Unsigned: nobody has.
        """
        digest = hashlib.sha256(body).hexdigest()
        declared = self._one("x-amz-content-sha256")
        if declared not in ("", digest):
            raise Unsigned("InvalidSignatureException", "the payload is not what was signed")
        text = "\n".join((ALGORITHM, self._one("x-amz-date"), self._scope, self._canonical_digest(digest)))
        signing = f"AWS4{key.secret}".encode()
        for part in (self._day, self.region, self._service, "aws4_request"):
            signing = hmac.digest(signing, part.encode(), "sha256")
        expected = hmac.digest(signing, text.encode(), "sha256").hex()
        if not hmac.compare_digest(expected.encode(), self._signature.encode("utf-8", "replace")):
            raise Unsigned(
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided. Check your key.",
            )

    def _canonical_digest(self, payload: str) -> str:
        pairs = sorted((_quoted(name), _quoted(value)) for name, value in parse_qsl(self._query, True))
        lines = [
            self._method,
            quote(self._path, safe="/~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{self._value(name)}" for name in self._names),
            "",
            ";".join(self._names),
            payload,
        ]
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def _value(self, name: str) -> str:
        return ",".join(_SPACES.sub(" ", value.strip()) for header, value in self._headers if header == name)


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")


def key_of(keys: Keys, signed: Signed) -> Key:
    """The key with which a request is said to be signed; it is verified when the body is there.

    Raises:
        Unsigned: there is none, or it is no longer good; or the request is of another time.
    """
    key = keys.by_id(signed.key_id)
    if key is None:
        raise Unsigned("UnrecognizedClientException", "The security token included in the request is invalid.")
    now = time.time()
    signed.check_time(now)
    if key.expires_at is not None and key.expires_at <= now:
        raise Unsigned("ExpiredTokenException", f"key {key.id} has expired: use a newer one")
    return key
