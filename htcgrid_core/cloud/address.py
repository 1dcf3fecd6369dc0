"""What an ``aws://`` URL names."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import ValidationError

from htcgrid_core.adapters.aws.parameter import NAME
from htcgrid_core.adapters.aws.settings import AwsSettings
from htcgrid_core.domain.errors import UnknownGrid

SCHEME = "aws"
OPTIONS = ", ".join(AwsSettings.model_fields)


@dataclass(frozen=True)
class Address:
    """A grid's name, and how to reach AWS."""

    name: str
    settings: AwsSettings = field(default_factory=AwsSettings)

    @property
    def url(self) -> str:
        """The URL that names it."""
        query = urlencode(self.settings.model_dump(exclude_defaults=True), safe=":/")
        return f"{SCHEME}://{self.name}" + (f"?{query}" if query else "")

    def in_tasks(self, region: str) -> Address:
        """The address for tasks, which see neither this process's profiles nor its region."""
        return Address(self.name, self.settings.model_copy(update={"profile": None, "region": region}))


def parse_aws(url: str) -> Address:
    """The name and settings in ``aws://NAME?region=R&profile=P&endpoint=URL``.

    Raises:
        UnknownGrid: it is not such a URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UnknownGrid(f"{url!r} is not a URL: {error}") from error
    if parts.scheme != SCHEME or parts.path not in ("", "/") or parts.fragment or not NAME.fullmatch(parts.netloc):
        raise UnknownGrid(
            f"{url!r} is not a grid's URL: write aws://NAME or aws://NAME?region=eu-west-1; a name has up to 24 "
            "lower-case letters, digits and hyphens, and begins with a letter"
        )
    try:
        settings = AwsSettings.model_validate(dict(parse_qsl(parts.query, keep_blank_values=True)))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UnknownGrid(f"{url!r}: {wrong} (options are {OPTIONS})") from error
    return Address(parts.netloc, settings)
