"""What AWS asks for: the one table of prices, which an operator may correct with a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import orjson

from htcgrid_core.domain.errors import InvalidInput

VARIABLE = "HTCGRID_PRICES"  # the environment's: where the file is
_TEXTS = ("region", "dated")


@dataclass(frozen=True, slots=True)
class Prices:
    """Of one region, in dollars.

    Attributes:
        dated: year and month of the price lists.
        sources: where they are, by service.
        write_unit, read_unit: of DynamoDB.
        sqs_request: up to 64 KB.
        lambda_gb_second: of a function on arm64.
        core_hour: of a vCPU on arm64 (c7g), on demand.
        spot_share: what spot takes of that. It is a market: an assumption, and not on any list.
        auto_mode_share: of the price on demand, which EKS Auto Mode asks for a node.
        endpoint_hour, gateway_hour: of an interface endpoint and of a NAT gateway, in each zone.
        table_gb_month, bucket_gb_month: of what DynamoDB and S3 keep, a billion bytes for a month.
        slot_hour: of one slot of an agent; None for a core's, with what Auto Mode asks for its node.
        pools: of slots of some pools, by the pool's name, which count before ``slot_hour``.
    """

    region: str
    dated: str
    sources: Mapping[str, str]
    write_unit: float
    read_unit: float
    s3_put: float
    s3_get: float
    sqs_request: float
    lambda_request: float
    lambda_gb_second: float
    core_hour: float
    spot_share: float
    auto_mode_share: float
    cluster_hour: float
    endpoint_hour: float
    gateway_hour: float
    key_month: float
    table_gb_month: float
    bucket_gb_month: float
    slot_hour: float | None = None
    pools: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Which prices these are, for those who are shown dollars of them."""
        return f"{self.region}, {self.dated}"

    @property
    def note(self) -> str:
        """What dollars of these prices leave out."""
        if self.region != HERE:
            return "an estimate by list prices; idle slots, the cluster and the network are not in it"
        if self.slot_hour or self.pools:
            return "compute at the prices of slots that were set; nothing else of this machine costs anything"
        return f"nothing: no price of this machine's slots is set (see {VARIABLE})"

    def slot_hour_of(self, pool: str) -> float:
        """Of a slot of a pool, for an hour."""
        default = self.core_hour * (1 + self.auto_mode_share) if self.slot_hour is None else self.slot_hour
        return self.pools.get(pool, default)

    def corrected(self, text: str) -> Prices:
        """With the prices that a file says, as JSON: names and numbers of this class' attributes.

        Raises:
            InvalidInput: it is no such JSON.
        """
        try:
            given = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"the file of prices is no JSON: {error}") from None
        if not isinstance(given, dict):
            raise InvalidInput("the file of prices is not one JSON object")
        known = {one.name for one in fields(self)} - {"sources"}
        for name, value in given.items():
            if name not in known:
                raise InvalidInput(f"the file of prices names {name!r}: it may name {', '.join(sorted(known))}")
            if not _is_price(name, value):
                raise InvalidInput(f"the file of prices: {name} is not what it must be, a number of dollars from 0 on")
        return replace(self, **given)

    def sourced(self, *services: str) -> str:
        """Where and when these services' prices were found, in Markdown."""
        listed = ",\n".join(f"<{self.sources[service]}>" for service in services)
        return f"Prices of {self.region}, {self.dated}:\n{listed}."

    def dollars(self, calls: Mapping[str, int], write_units: float, read_units: float) -> float:
        """What these calls, by the names of their operations, and DynamoDB units cost."""
        return (
            write_units * self.write_unit
            + read_units * self.read_unit
            + calls.get("PutObject", 0) * self.s3_put
            + (calls.get("GetObject", 0) + calls.get("HeadObject", 0)) * self.s3_get
            + sum(count for name, count in calls.items() if "Message" in name) * self.sqs_request
        )


def _is_price(name: str, value: Any) -> bool:
    if name in _TEXTS:
        return isinstance(value, str)
    if name == "pools":
        return isinstance(value, dict) and all(_is_price("", one) for one in value.values())
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


PRICES = Prices(
    region="us-east-1",
    dated="2026-11",
    sources={
        "DynamoDB": "https://aws.amazon.com/dynamodb/pricing/on-demand/",
        "S3": "https://aws.amazon.com/s3/pricing/",
        "SQS": "https://aws.amazon.com/sqs/pricing/",
        "Lambda": "https://aws.amazon.com/lambda/pricing/",
        "EC2": "https://aws.amazon.com/ec2/pricing/on-demand/",
        "EKS": "https://aws.amazon.com/eks/pricing/",
        "PrivateLink": "https://aws.amazon.com/privatelink/pricing/",
        "VPC": "https://aws.amazon.com/vpc/pricing/",
        "KMS": "https://aws.amazon.com/kms/pricing/",
    },
    write_unit=0.625e-6,
    read_unit=0.125e-6,
    s3_put=5.0e-6,
    s3_get=0.4e-6,
    sqs_request=0.4e-6,
    lambda_request=0.2e-6,
    lambda_gb_second=13.3334e-6,
    core_hour=0.03625,
    spot_share=0.4,
    auto_mode_share=0.12,
    cluster_hour=0.10,
    endpoint_hour=0.01,
    gateway_hour=0.045,
    key_month=1.0,
    table_gb_month=0.25,
    bucket_gb_month=0.023,
)

HERE = "this machine"
FREE = Prices(
    region=HERE,
    dated="no list",
    sources={},
    write_unit=0.0,
    read_unit=0.0,
    s3_put=0.0,
    s3_get=0.0,
    sqs_request=0.0,
    lambda_request=0.0,
    lambda_gb_second=0.0,
    core_hour=0.0,
    spot_share=1.0,
    auto_mode_share=0.0,
    cluster_hour=0.0,
    endpoint_hour=0.0,
    gateway_hour=0.0,
    key_month=0.0,
    table_gb_month=0.0,
    bucket_gb_month=0.0,
)  # of a grid on one machine, whose slots cost what its operator says, and nothing else anything
