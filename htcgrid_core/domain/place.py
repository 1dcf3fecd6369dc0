"""Places: prefixes of S3 that an operator listed, from which a tenant's events are read, or to which results go."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.s3_uri import S3Uri
from htcgrid_core.domain.session import DEFAULT_TENANT, TENANT
from htcgrid_core.domain.stored import Stored

Use = Literal["events", "results"]


class Place(Stored):
    """What a tenant may name in a request.

    Attributes:
        prefix: ``s3://BUCKET/PREFIX/``.
        use: whether events are read from there, or results written to there.
    """

    prefix: str = Field(max_length=200)
    use: Use
    tenant: str = Field(default=DEFAULT_TENANT, pattern=f"^{TENANT.pattern}$")

    @field_validator("prefix")
    @classmethod
    def _is_prefix(cls, prefix: str) -> str:
        if not S3Uri.parse(prefix).is_prefix:
            raise ValueError("a prefix ends with a slash")
        return prefix

    @property
    def uri(self) -> S3Uri:
        """The prefix, in its parts."""
        return S3Uri.parse(self.prefix)


def check_listed(uri: S3Uri, tenant: str, use: Use, places: list[Place]) -> None:
    """Whether a tenant may name an object.

    Raises:
        InvalidInput: it lies below none of its places.
    """
    mine = [place for place in places if (place.tenant, place.use) == (tenant, use)]
    if uri.is_prefix or not any(uri.is_below(place.uri) for place in mine):
        listed = ", ".join(place.prefix for place in mine) or "none"
        raise InvalidInput(
            f"{uri} is no place for the {use} of tenant {tenant!r}: those that the operator listed are {listed} "
            "(`htcgrid places add`)"
        )
