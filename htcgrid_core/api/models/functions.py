"""What sessions refer to: functions with their versions and aliases, and shared inputs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue

from htcgrid_core.api.models.fields import Count, Digest, Model, Query, SessionId, Tenant, number, whole
from htcgrid_core.domain.alias import ALIAS_NAME
from htcgrid_core.domain.function import MAX_SCHEMA_BYTES, MOST_AT_ONCE, Isolation


class SharedInput(Model):
    """A reference: ``{"$htcgrid.shared": DIGEST, "codec": CODEC}`` anywhere in an event is replaced by the value."""

    digest: Digest
    codec: Literal["json", "bytes", "pickle"]


class Callable(Model):
    """A stored callable, as the ``blob`` of a function in the raw form of a session."""

    blob: str


class Tenanted(Query):
    """Whose: needed only by principals of several tenants."""

    tenant: Tenant | None = None


class NewVersion(Query):
    """How a package is run. ``variables`` is a JSON object of texts; schemas are JSON Schemas, empty for none.

    Attributes:
        handler: what the runtime calls, as in ``module.function``.
        runtime: in AWS Lambda's names.
        result_format: what a ``provided`` runtime posts: JSON, or text, of which the result is the string.
        runtime_client: whether AWS's client for Python runs it even where a native worker could.
        concurrency: invocations that one environment of a runtime client has at once.
        events_schema: by which its sessions' events are checked before anything is written.
        results_schema: by which its results are: a task whose result is no good fails, and is not tried again.
    """

    tenant: Tenant | None = None
    handler: str = Field(default="", max_length=256)
    runtime: str = Field(default="python3.11", pattern=r"^(python3\.\d+|provided(\.al2|\.al2023)?)$")
    timeout: Annotated[float, Field(gt=0, le=7 * 86400, allow_inf_nan=False)] | None = None
    memory_mb: Annotated[int, Field(ge=32, le=1 << 20), BeforeValidator(number)] | None = None
    cpus: Annotated[float, Field(gt=0, le=1024, allow_inf_nan=False)] | None = None
    isolation: Isolation | None = None
    description: str = Field(default="", max_length=256)
    result_format: Literal["json", "text"] = "json"
    runtime_client: bool = False
    concurrency: Annotated[int, Field(ge=1, le=MOST_AT_ONCE), BeforeValidator(number)] = 1
    variables: str = Field(default="{}", max_length=16384)
    events_schema: str = Field(default="", max_length=MAX_SCHEMA_BYTES)
    results_schema: str = Field(default="", max_length=MAX_SCHEMA_BYTES)


class FunctionVersion(Model):
    """A version of a deployed function. Of its environment only the variables' names are told."""

    function: str
    version: Count
    handler: str
    runtime: str
    variables: list[str]
    result_format: Literal["json", "text"]
    runtime_client: bool
    concurrency: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)]
    content: str
    files: Count
    unpacked_bytes: Count
    package_bytes: Count
    timeout: float | None
    memory_mb: int | None
    cpus: float | None
    isolation: Isolation | None
    description: str
    events_schema: dict[str, JsonValue] | None
    results_schema: dict[str, JsonValue] | None
    deployed_at: float
    deployed_by: str


class OneVersion(Query):
    """Whose; of a token's session, to get the version that it runs already; and in the place of a number an alias."""

    tenant: Tenant | None = None
    session: SessionId | None = None
    alias: Annotated[str, Field(pattern=f"^{ALIAS_NAME.pattern}$")] | None = None


class Functions(Model):
    """The latest version of each function, or all of one, oldest first."""

    functions: list[FunctionVersion]


class NewAlias(Model):
    """Which version a function's alias means.

    Attributes:
        weights: at most one other version, and the share of sessions that run it instead, above 0 and up to 1.
    """

    version: Annotated[int, Field(ge=1, le=(1 << 31) - 1), BeforeValidator(whole)]
    weights: dict[Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}$")], Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=dict, max_length=1
    )
    description: str = Field(default="", max_length=256)


class Alias(NewAlias):
    """An alias: ``NAME:ALIAS`` in the place of ``NAME:VERSION``."""

    name: str


class Aliases(Model):
    """By name."""

    aliases: list[Alias]


class Removed(Model):
    """The versions that are out of use for new sessions."""

    versions: list[Count]
