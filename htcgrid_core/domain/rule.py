"""Rules: which events of AWS become sessions, and what sessions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator

from htcgrid_core.domain.asked import Asked
from htcgrid_core.domain.destination import NAME
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.s3_uri import S3Uri
from htcgrid_core.domain.session import DEFAULT_TENANT, TENANT

SourceKind = Literal["s3", "events", "sqs", "kinesis"]
VectorFormat = Literal["jsonl", "json", "csv", "parquet", "manifest"]
_ARN = re.compile(r"arn:aws[a-z-]*:(sqs|kinesis):[a-z0-9-]+:\d{12}:.+")
_EVENTS = re.compile(r"events:([^/\s]+)(?:/(.+))?")


@dataclass(frozen=True, slots=True)
class BusEvents:
    """Events of EventBridge of one source, and of one detail type if that is named."""

    source: str
    detail_type: str


class Rule(Asked):
    """One session for each object version, event, message or batch of records of a source.

    Attributes:
        rule: its name.
        source: ``s3://BUCKET/PREFIX/``; ``events:SOURCE`` or ``events:SOURCE/DETAIL-TYPE`` of EventBridge; the ARN of a
            queue of SQS or a stream of Kinesis.
        tenant: whose sessions they are.
        path: where in what came the vector is: names with dots between; empty for all of it. What is no list is a
            vector of one event.
        format: of objects, if their keys do not tell.
        about: of an S3 source, whether its vector is what stands in the object, or one event that names it.
    """

    rule: str = Field(pattern=f"^{NAME.pattern}$")
    source: str = Field(max_length=1024)
    tenant: str = Field(default=DEFAULT_TENANT, pattern=f"^{TENANT.pattern}$")
    path: str = Field(default="", max_length=256)
    format: VectorFormat | None = None
    about: Literal["content", "object"] = "content"

    @field_validator("source")
    @classmethod
    def _is_source(cls, source: str) -> str:
        if source.startswith("s3://"):
            if not S3Uri.parse(source).is_prefix:
                raise ValueError("a prefix of S3 ends with a slash")
        elif not _ARN.fullmatch(source) and not _EVENTS.fullmatch(source):
            raise ValueError("give s3://BUCKET/PREFIX/, events:SOURCE/DETAIL-TYPE, or the ARN of a queue or a stream")
        return source

    @property
    def kind(self) -> SourceKind:
        """Of its source."""
        if self.source.startswith("s3://"):
            return "s3"
        found = _ARN.fullmatch(self.source)
        return found[1] if found else "events"  # type: ignore[return-value]  # the pattern says so

    @property
    def prefix(self) -> S3Uri:
        """Of a source in S3."""
        return S3Uri.parse(self.source)

    @property
    def events(self) -> BusEvents:
        """Of a source in EventBridge."""
        found = _EVENTS.fullmatch(self.source)
        assert found is not None
        return BusEvents(found[1], found[2] or "")

    def check(self) -> None:
        """Whether its options go together.

        Raises:
            InvalidInput: one of them means nothing for its source.
        """
        if self.kind != "s3" and (self.format is not None or self.about != "content"):
            raise InvalidInput(f"rule {self.rule}: format and about are of objects in S3")
        if self.kind == "s3" and self.path:
            raise InvalidInput(f"rule {self.rule}: an object is a vector as it is; path is of other sources")
