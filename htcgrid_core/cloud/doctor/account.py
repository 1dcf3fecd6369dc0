"""Who this is, where, and what time it is there."""

from __future__ import annotations

import time

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.clock_skew import ALLOWED_SECONDS, server_time
from htcgrid_core.adapters.aws.endpoints import is_aws
from htcgrid_core.adapters.aws.errors import aws_errors
from htcgrid_core.adapters.aws.mixed_endpoints import check_endpoints
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridError, InvalidInput
from htcgrid_core.local.doctor.finding import Findings, ok, problem, warning

NTP = "let this machine's clock be set by NTP"


def account(clients: Clients) -> Findings:
    """Account, identity and region, and both clocks: AWS's answer has the time in it."""
    before = time.time()
    try:
        with aws_errors(f"AWS STS in {clients.region}"):
            answer = clients.sts.get_caller_identity()
    except GridError as error:
        yield problem("account", str(error), "mend what it says")
        return
    yield ok("account", f"{answer['Account']} as {answer['Arn']}, region {clients.region}{_where(clients)}")
    yield from _clock(before, time.time(), server_time(answer))


def _where(clients: Clients) -> str:
    url = str(clients.sts.meta.endpoint_url)
    return "" if is_aws(url) else f", at {url}"


def _clock(before: float, after: float, theirs: float | None) -> Findings:
    """Compare; AWS says the time to the second, and somewhere between ``before`` and ``after``."""
    if theirs is None:
        yield ok("clock", "what answers there does not say what time it is")
        return
    ahead = max(before - theirs - 1.0, 0.0) - max(theirs - after, 0.0)
    way = "ahead of" if ahead > 0 else "behind"
    text = f"this machine's is {abs(ahead):,.0f} s {way} AWS's"
    if abs(ahead) >= ALLOWED_SECONDS:
        yield problem("clock", f"{text}: AWS refuses calls from {ALLOWED_SECONDS:.0f} s on", NTP)
    elif abs(ahead) > limits.LEASE_MARGIN_SECONDS:
        yield warning("clock", f"{text}: delays, deadlines and who is alive are judged by it", NTP)
    else:
        yield ok("clock", f"as AWS's, within {abs(ahead) + 1.0 + after - before:.0f} s")


def endpoints(clients: Clients) -> Findings:
    """Some services of an emulator's, and others AWS's own."""
    try:
        check_endpoints(clients)
    except InvalidInput as error:
        yield warning("endpoints", str(error), "set what is missing")
