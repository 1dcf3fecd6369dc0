"""Two proxies in front of an emulator: AWS as it is on a bad day.

``microburst`` (https://github.com/pingedbrain/microburst) throttles, resets connections and loses replies after the
write was applied; ``misbehaviour`` fails batches in part and delivers messages twice.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.aws.emulators import MICROBURST, REPOSITORY, Account, clean_environment, free_port, server

Rule = dict[str, Any]

_CONFLICT = {"CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict", "Message": "others"}]}
# The first rule that fires is all that happens to a call.
RULES: list[Rule] = [
    {"service": "dynamodb", "probability": 0.06, "error": {"code": "ProvisionedThroughputExceededException"}},
    {"service": "dynamodb", "probability": 0.02, "error": {"code": "InternalServerError", "status": 500}},
    {
        "service": "dynamodb", "operation": "TransactWriteItems", "probability": 0.1,
        "error": {"code": "TransactionCanceledException", "message": "others", "fields": _CONFLICT},
    },
    {"service": "sqs", "probability": 0.06, "error": {"code": "RequestThrottled"}},
    {"service": "s3", "probability": 0.05, "error": {"code": "SlowDown", "status": 503}},
    {"service": "s3", "operation": "GetObject", "probability": 0.05, "response": {"corrupt_bytes": 1}},
    {"service": "s3", "operation": "GetObject", "probability": 0.05, "response": {"abort_frac": 0.5}},
    {"service": "*", "probability": 0.02, "reset": True},
    {"service": "*", "probability": 0.05, "response": {"abort_bytes": 0}},
    {"service": "*", "probability": 0.01, "response": {"abort_frac": 0.5}},
    {"service": "*", "probability": 0.02, "latency": {"min": 200, "max": 1500}},
]  # fmt: skip


@dataclass(frozen=True)
class Faults:
    """The proxies of one account.

    Attributes:
        account: the same account, through them.
        upstream: the emulator's own URL.
    """

    account: Account
    upstream: str
    _misbehaviour: str

    def begin(self, rules: Sequence[Rule] = RULES) -> None:
        """From now on calls fail by these rules."""
        self._ask(f"{self.account.url}/_microburst/rules", "POST", list(rules))

    def calm(self) -> None:
        """From now on none does."""
        self.begin(())
        self._ask(f"{self._misbehaviour}/_misbehaviour/calm", "POST")

    def replay(self) -> int:
        """Send every message again that was ever sent; how many there were."""
        return int(self._ask(f"{self._misbehaviour}/_misbehaviour/replay", "POST")["sent"])

    def done(self) -> Counter[str]:
        """What was done to calls, and how often."""
        fired = self._ask(f"{self.account.url}/_microburst/fired?limit=100000", "GET")
        found = Counter(self._ask(f"{self._misbehaviour}/_misbehaviour/done", "POST")["done"])
        found.update(f"{event['service']} {event['action']}" for event in fired)
        return found

    def _ask(self, url: str, method: str, body: object = None) -> Any:
        request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None, method=method)
        request.add_header("Content-Type", "application/json")
        credential = f"{self.account.id}/20260101/eu-west-1/sqs/aws4_request"
        request.add_header(
            "Authorization", f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")


@contextmanager
def faulty(account: Account, seed: int) -> Iterator[Faults]:
    """Proxies in front of an account, which do nothing yet."""
    inner, outer = free_port(), free_port()
    urls = [f"http://127.0.0.1:{port}" for port in (inner, outer)]
    environment = {**clean_environment(), "PYTHONPATH": str(REPOSITORY)}
    misbehaviour = [sys.executable, "-m", "tests.chaos.misbehaving_proxy", str(inner), account.url, str(seed)]
    burst = [*MICROBURST, "--host", "127.0.0.1", "--port", str(outer), "--upstream", urls[0]]
    with (
        server(misbehaviour, environment, urls[0], "/_ministack/health") as inner_url,
        server(burst, clean_environment(), urls[1], "/_microburst/health") as url,
    ):
        yield Faults(Account(url, account.id), account.url, inner_url)
