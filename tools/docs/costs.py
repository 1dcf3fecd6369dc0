"""What a grid costs, by the table of prices: requests, hours of what the modules make, and machines."""

from __future__ import annotations

import re

from htcgrid_core.cloud.function_agent import MEMORY_MB_A_CORE
from htcgrid_core.domain.costs import SQS_REQUESTS
from htcgrid_core.domain.prices import PRICES
from tools.docs import terraform
from tools.docs.places import INFRA, REPOSITORY

MONTH_HOURS = 730
PRIORITIES = 3
MAPPED_QUEUES = PRIORITIES + 1  # a pool's, and that of sessions to submit
POLLERS, LONG_POLL_SECONDS = 5, 20  # of a mapping that finds nothing, as Lambda's documentation says
TICK_SECONDS = 1  # of the reconciler on an idle grid, cold starts included
PAYLOAD_KB = "1"
TASK_SECONDS = 1
BUNDLES_COMPARED = (1, 8, 128)
# For a bundle, at worst, beside its messages: an object of results that is written, and read by the client; events that
# are read by the agent.
OBJECT_CALLS = {"PutObject": 1, "GetObject": 2}


def idle() -> str:
    """A month of examples/minimal without agents."""
    zones = int(terraform.default("network", "zones"))
    endpoints = _endpoints() // zones
    polls = PRIORITIES * MONTH_HOURS * 3600 // _polling_seconds()
    rows = [
        (f"{endpoints} interface endpoints in {zones} zones", endpoints * zones * PRICES.endpoint_hour * MONTH_HOURS),
        ("the EKS cluster", PRICES.cluster_hour * MONTH_HOURS),
        ("the KMS key", PRICES.key_month),
        (f"KEDA's looks at {PRIORITIES} queues, {polls:,} requests", polls * PRICES.sqs_request),
    ]
    rows.append(("**together**", sum(dollars for _, dollars in rows)))
    lines = ["| what | dollars a month |", "|---|---:|", *(f"| {what} | {dollars:,.2f} |" for what, dollars in rows)]
    gateways = zones * PRICES.gateway_hour * MONTH_HOURS
    return "\n".join([*lines, "", f"With `internet_egress`, {zones} NAT gateways are {gateways:,.2f} more."])


def idle_functions() -> str:
    """A month of examples/lambda_only in which nothing is submitted."""
    seconds = int(terraform.default("control_plane", "reconcile_seconds"))
    minutes = MONTH_HOURS * 60
    source = (INFRA / "modules/control_plane/main.tf").read_text()
    (memory,) = map(int, re.findall(r"ttl_checker += \{ memory_mb = (\d+)", source))
    ticks = minutes * (seconds * memory / 1024 * PRICES.lambda_gb_second + PRICES.lambda_request)
    polls = MAPPED_QUEUES * POLLERS * MONTH_HOURS * 3600 // LONG_POLL_SECONDS
    rows = [
        (f"the reconciler, {seconds} s of each minute with {memory} MB", ticks),
        (f"AWS's polls of {MAPPED_QUEUES} mapped queues, {polls:,} requests", polls * PRICES.sqs_request),
        ("the KMS key", PRICES.key_month),
    ]
    rows.append(("**together**", sum(dollars for _, dollars in rows)))
    lines = ["| what | dollars a month |", "|---|---:|", *(f"| {what} | {dollars:,.2f} |" for what, dollars in rows)]
    once = minutes * (TICK_SECONDS * memory / 1024 * PRICES.lambda_gb_second + PRICES.lambda_request)
    return "\n".join([*lines, "", f"With `reconcile_seconds = 0`, one tick a minute, the first is some {once:.2f}."])


def million() -> str:
    """A million tasks of 1 KB in and out, by size of bundle."""
    lines = ["| tasks a bundle | DynamoDB | SQS | S3 | dollars a million |", "|---:|---:|---:|---:|---:|"]
    for size, writes, reads, _ in measured():
        parts = dollars(size, writes, reads)
        lines.append(f"| {size} | {' | '.join(f'{part:.3f}' for part in parts)} | {sum(parts):.3f} |")
    return "\n".join([*lines, "", PRICES.sourced("DynamoDB", "SQS", "S3")])


def computed() -> str:
    """A million tasks of a second that fill a core, on functions and on nodes, with their requests."""
    gigabytes, core_hours = MEMORY_MB_A_CORE / 1024, TASK_SECONDS * 1e6 / 3600
    functions = TASK_SECONDS * 1e6 * gigabytes * PRICES.lambda_gb_second
    on_demand = core_hours * PRICES.core_hour
    managed = on_demand * PRICES.auto_mode_share
    requests = {size: sum(dollars(size, writes, reads)) for size, writes, reads, _ in measured()}
    lines = [
        "| where | " + " | ".join(f"bundles of {size}" for size in BUNDLES_COMPARED) + " | of that, machines |",
        "|---|" + "---:|" * (len(BUNDLES_COMPARED) + 1),
    ]
    for where, machines, invocation in (
        (f"Lambda, arm64, {MEMORY_MB_A_CORE:,} MB a task", functions, PRICES.lambda_request),
        ("EKS Auto Mode, on demand", on_demand + managed, 0.0),
        (f"EKS Auto Mode, spot at {PRICES.spot_share:.0%}", on_demand * PRICES.spot_share + managed, 0.0),
        (f"EKS with Karpenter, spot at {PRICES.spot_share:.0%}", on_demand * PRICES.spot_share, 0.0),
    ):
        totals = [machines + requests[size] + 1e6 / size * invocation for size in BUNDLES_COMPARED]
        lines.append(f"| {where} | {' | '.join(f'{total:.2f}' for total in totals)} | {machines:.2f} |")
    saved = functions - on_demand * PRICES.spot_share - managed
    cluster = (PRICES.cluster_hour + _endpoints() * PRICES.endpoint_hour) * MONTH_HOURS
    lines += [
        "",
        f"A cluster and its endpoints are {cluster:,.0f} dollars a month, busy or not: spot with Auto Mode repays\n"
        f"them from {cluster / saved:.0f} million such tasks a month on.",
        "",
        PRICES.sourced("Lambda", "EC2", "EKS"),
    ]
    return "\n".join(lines)


def dollars(size: int, writes: float, reads: float) -> tuple[float, float, float]:
    """What DynamoDB, SQS and S3 ask for a million tasks, at worst.

    Args:
        size: tasks of a bundle.
        writes: units a task.
        reads: units a task.
    """
    bundles = 1e6 / size
    objects = PRICES.dollars(OBJECT_CALLS, 0, 0) if size > 1 else 0  # a lone result of 1 KB is in the table
    return (
        PRICES.dollars({}, writes * 1e6, reads * 1e6),
        bundles * SQS_REQUESTS * PRICES.sqs_request,
        bundles * objects,
    )


def measured() -> list[tuple[int, float, float, float]]:
    """(tasks a bundle, write and read units a task, dollars a million) of docs/aws.md, of the longest session each."""
    page = (REPOSITORY / "docs" / "aws.md").read_text()
    found: dict[int, tuple[int, float, float, float]] = {}
    for row in re.findall(r"^\| ([\d.]+ \| \d+ \| [\d.,]+ \| [\d.]+ \| [\d.]+ \| [\d.]+ \| [\d.]+) \|$", page, re.M):
        payload, size, _, _, writes, reads, total = row.replace(",", "").split(" | ")
        if payload == PAYLOAD_KB:
            found[int(size)] = (int(size), float(writes), float(reads), float(total))
    return list(found.values())


def _endpoints() -> int:
    """Interface endpoints of the network by its defaults, each counted in each zone."""
    return (
        terraform.default("network", "interface_endpoints").count('"') // 2 * int(terraform.default("network", "zones"))
    )


def _polling_seconds() -> int:
    values = (REPOSITORY / "agent/helm/htcgrid/values.yaml").read_text()
    (seconds,) = re.findall(r"^  pollingSeconds: (\d+)$", values, re.M)
    return int(seconds)
