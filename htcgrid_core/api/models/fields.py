"""Kinds of fields, and what all models of the public schema are."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def whole(value: Any) -> Any:
    """1.0 is an integer to JSON Schema."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def number(value: Any) -> Any:
    """In a query, all is text."""
    try:
        return int(value) if isinstance(value, str) and value.lstrip("-").isdecimal() else whole(value)
    except ValueError:
        return value


Count = Annotated[int, Field(ge=0, le=(1 << 63) - 1), BeforeValidator(whole)]
QueryCount = Annotated[int, Field(ge=0, le=(1 << 63) - 1), BeforeValidator(number)]
Limit = Annotated[int, Field(ge=1, le=1000), BeforeValidator(number)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SessionId = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9-]{0,31}\.)?[st]-[a-z0-9-]{2,62}$")]
Tenant = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Model(BaseModel):
    """Strict: what is not known is refused, and a text is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Query(BaseModel):
    """Parameters, which come as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)
