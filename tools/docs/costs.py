"""What a grid costs: requests by the table of prices, and what is paid for each hour by what the modules make."""

from __future__ import annotations

import re

from htcgrid_core.adapters.aws.prices import PRICES
from tools.docs import terraform
from tools.docs.places import REPOSITORY

MONTH_HOURS = 730
# In dollars, in the region of the table of prices. No code of the grid needs them, so that table does not have them.
ENDPOINT_HOUR = 0.01  # https://aws.amazon.com/privatelink/pricing/, for each zone
CLUSTER_HOUR = 0.10  # https://aws.amazon.com/eks/pricing/
GATEWAY_HOUR = 0.045  # https://aws.amazon.com/vpc/pricing/, for each zone
KEY_MONTH = 1.0  # https://aws.amazon.com/kms/pricing/
PRIORITIES = 3
PAYLOAD_KB = "1"
# For a bundle, at worst: a tenth of a batch to send its message, a call each to receive and to delete it; an object of
# results that is written, and read by the client; events that are read by the agent.
SQS_REQUESTS = 2.1
OBJECT_CALLS = {"PutObject": 1, "GetObject": 2}


def idle() -> str:
    """A month of examples/minimal without agents."""
    endpoints = terraform.default("network", "interface_endpoints").count('"') // 2
    zones = int(terraform.default("network", "zones"))
    polls = PRIORITIES * MONTH_HOURS * 3600 // _polling_seconds()
    rows = [
        (f"{endpoints} interface endpoints in {zones} zones", endpoints * zones * ENDPOINT_HOUR * MONTH_HOURS),
        ("the EKS cluster", CLUSTER_HOUR * MONTH_HOURS),
        ("the KMS key", KEY_MONTH),
        (f"KEDA's looks at {PRIORITIES} queues, {polls:,} requests", polls * PRICES.sqs_request),
    ]
    rows.append(("**together**", sum(dollars for _, dollars in rows)))
    lines = ["| what | dollars a month |", "|---|---:|", *(f"| {what} | {dollars:,.2f} |" for what, dollars in rows)]
    gateways = zones * GATEWAY_HOUR * MONTH_HOURS
    return "\n".join([*lines, "", f"With `internet_egress`, {zones} NAT gateways are {gateways:,.2f} more."])


def million() -> str:
    """A million tasks of 1 KB in and out, by size of bundle."""
    lines = ["| tasks a bundle | DynamoDB | SQS | S3 | dollars a million |", "|---:|---:|---:|---:|---:|"]
    for size, writes, reads, _ in measured():
        parts = dollars(size, writes, reads)
        lines.append(f"| {size} | {' | '.join(f'{part:.3f}' for part in parts)} | {sum(parts):.3f} |")
    sources = ",\n".join(f"<{each}>" for each in PRICES.sources)
    lines += ["", f"Prices of {PRICES.region}, {PRICES.dated}:\n{sources}."]
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


def _polling_seconds() -> int:
    values = (REPOSITORY / "agent/helm/htcgrid/values.yaml").read_text()
    (seconds,) = re.findall(r"^  pollingSeconds: (\d+)$", values, re.M)
    return int(seconds)
