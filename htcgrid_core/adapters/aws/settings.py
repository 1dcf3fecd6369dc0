"""How a process reaches AWS; what is not set here follows botocore's own variables, profiles and roles."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class AwsSettings(BaseModel):
    """What may follow the question mark of an ``aws://`` URL.

    Attributes:
        region: AWS region; None for ``AWS_REGION``, ``AWS_DEFAULT_REGION`` or the profile's.
        profile: of ``~/.aws/config``; None for ``AWS_PROFILE`` or the default chain of credentials.
        role: ARN of a role to assume with those credentials; renewed before it expires.
        endpoint: URL of every service, for emulators; None for ``AWS_ENDPOINT_URL`` or AWS itself.
        retries: botocore's retry mode.
        connections: connections that each client keeps open.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str | None = Field(default=None, pattern=r"^[a-z]{2,4}(-[a-z]+)+-[0-9]+$")
    profile: str | None = Field(default=None, min_length=1)
    role: str | None = Field(default=None, pattern=r"^arn:[a-z-]+:iam::[0-9]{12}:role/.+$")
    endpoint: str | None = Field(default=None, pattern=r"^https?://[^/?#]+/?$")
    retries: Literal["standard", "adaptive", "legacy"] = "standard"
    connections: int = Field(default=16, ge=1, le=1024)
