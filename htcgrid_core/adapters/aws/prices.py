"""What AWS asks for: the one table of prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prices:
    """Of one region, paid by request, in dollars.

    Attributes:
        dated: year and month of the price lists.
        sources: where they are.
        write_unit, read_unit: of DynamoDB.
        sqs_request: up to 64 KB.
    """

    region: str
    dated: str
    sources: tuple[str, ...]
    write_unit: float
    read_unit: float
    s3_put: float
    s3_get: float
    sqs_request: float

    def dollars(self, calls: Mapping[str, int], write_units: float, read_units: float) -> float:
        """What these calls, by the names of their operations, and DynamoDB units cost."""
        return (
            write_units * self.write_unit
            + read_units * self.read_unit
            + calls.get("PutObject", 0) * self.s3_put
            + (calls.get("GetObject", 0) + calls.get("HeadObject", 0)) * self.s3_get
            + sum(count for name, count in calls.items() if "Message" in name) * self.sqs_request
        )


PRICES = Prices(
    region="us-east-1",
    dated="2026-11",
    sources=(
        "https://aws.amazon.com/dynamodb/pricing/on-demand/",
        "https://aws.amazon.com/s3/pricing/",
        "https://aws.amazon.com/sqs/pricing/",
    ),
    write_unit=0.625e-6,
    read_unit=0.125e-6,
    s3_put=5.0e-6,
    s3_get=0.4e-6,
    sqs_request=0.4e-6,
)
