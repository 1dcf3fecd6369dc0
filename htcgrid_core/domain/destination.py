"""Destinations: queues, topics, event buses and webhooks that an operator registered, and sessions name."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.notification import STEP_FUNCTIONS
from htcgrid_core.domain.stored import Stored

MARKS = 9  # that a destination may have: each is a row for each session that names it
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
Kind = Literal["sqs", "sns", "events", "webhook"]
_ARN = re.compile(r"arn:aws[a-z-]*:(sqs|sns|events):([a-z0-9-]+):(\d{12}):(.+)")
_SECRET = "whsec_"  # noqa: S105 - how secrets begin


class Destination(Stored):
    """Where ends of sessions are told.

    Attributes:
        target: an ARN of SQS, SNS or an event bus, or an https address.
        secret: with which a webhook's messages are signed (``whsec_`` and base64); empty for none.
        disabled: why it gets nothing any more; empty if it does.
        may_be_private: whether a webhook's address may be one of a private network. For tests and for networks
            whose operator knows what stands there.
        progress: at which shares of a session's tasks it is told too, in percent, ascending.
    """

    name: str = Field(pattern=rf"^{NAME.pattern}$")
    target: str = Field(max_length=2048)
    secret: str = Field(default="", repr=False, max_length=512)
    disabled: str = Field(default="", max_length=1024)
    may_be_private: bool = False
    progress: tuple[Annotated[int, Field(ge=1, le=99)], ...] = Field(default=(), max_length=MARKS)

    @field_validator("progress")
    @classmethod
    def _ascends(cls, marks: tuple[int, ...]) -> tuple[int, ...]:
        if list(marks) != sorted(set(marks)):
            raise ValueError("marks of progress ascend")
        return marks

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name == STEP_FUNCTIONS:
            raise ValueError(f"{STEP_FUNCTIONS} means the task of a submission")
        return name

    @property
    def kind(self) -> Kind:
        """What it is."""
        found = _ARN.fullmatch(self.target)
        return found[1] if found else "webhook"  # type: ignore[return-value]  # the pattern says so

    @property
    def whither(self) -> str:
        """The target for the audit: of a webhook only its host, since the rest of some addresses is a secret."""
        if self.kind != "webhook":
            return self.target
        parts = urlsplit(self.target)
        return f"{parts.scheme}://{parts.netloc}/..." if parts.path.strip("/") or parts.query else self.target

    @property
    def region(self) -> str:
        """Of an ARN; empty for a webhook."""
        found = _ARN.fullmatch(self.target)
        return found[2] if found else ""

    @property
    def key(self) -> bytes:
        """The bytes of the secret."""
        return base64.b64decode(self.secret.removeprefix(_SECRET)) if self.secret else b""


def check_destination(destination: Destination) -> None:
    """Whether an operator may register it.

    Raises:
        InvalidInput: its target is neither an ARN that is known nor an address, or its secret is none.
    """
    if not _ARN.fullmatch(destination.target):
        parts = urlsplit(destination.target)
        schemes = ("https", "http") if destination.may_be_private else ("https",)
        if parts.scheme not in schemes or not parts.hostname or parts.username or parts.fragment:
            raise InvalidInput(
                f"{destination.target!r} is no destination: give an ARN of an SQS queue, an SNS topic or an event bus, "
                "or an https address without a user"
            )
    if destination.secret:
        try:
            if not destination.secret.startswith(_SECRET):
                raise ValueError(f"it does not begin with {_SECRET}")
            if len(base64.b64decode(destination.secret.removeprefix(_SECRET), validate=True)) < 16:
                raise ValueError("it is shorter than 16 bytes")
        except (ValueError, binascii.Error) as error:
            raise InvalidInput(f"the secret of destination {destination.name} is no good: {error}") from None
