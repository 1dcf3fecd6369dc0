"""What an ``aws://`` URL names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import ValidationError

from htcgrid_core.adapters.aws.parameter import NAME
from htcgrid_core.adapters.aws.settings import AwsSettings
from htcgrid_core.domain.errors import UnknownGrid

SCHEME = "aws"
OPTIONS = ", ".join(AwsSettings.model_fields)
_WEIGHT = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


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


@dataclass(frozen=True)
class RegionsAddress:
    """A grid's name in several regions.

    Attributes:
        url: as the user wrote it.
        weights: the share of new sessions that each region is to have, in the order of the URL.
        lost: those that are given up.
    """

    url: str
    name: str
    settings: AwsSettings
    weights: dict[str, float]
    lost: frozenset[str] = frozenset()

    def of(self, region: str) -> Address:
        """The address of one of them."""
        return Address(self.name, self.settings.model_copy(update={"region": region}))

    @property
    def each(self) -> list[Address]:
        """All of them, in the order of the URL."""
        return [self.of(region) for region in self.weights]


def has_regions(url: str) -> bool:
    """Whether a URL of ``aws://`` names several regions, well or badly."""
    query = url.partition("#")[0].partition("?")[2]  # by hand: of a URL that is none, parse_aws says what is wrong
    return any(name == "regions" for name, _ in parse_qsl(query, keep_blank_values=True))


def parse_regions(url: str) -> RegionsAddress:
    """The name, regions and settings in ``aws://NAME?regions=R1:3,R2&lost=R1&profile=P``.

    Raises:
        UnknownGrid: it is not such a URL.
    """
    parts = _split(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    regions, lost = options.pop("regions", ""), options.pop("lost", "")
    if "region" in options:
        raise UnknownGrid(f"{url!r} has both region and regions: name all regions in regions, or one in region")
    address = parse_aws(urlunsplit(parts._replace(query=urlencode(options, safe=":/"))))
    weights: dict[str, float] = {}
    for text in regions.split(","):
        region, colon, weight = text.partition(":")
        if region in weights:
            raise UnknownGrid(f"{url!r} names {region} twice")
        weights[_region(url, region)] = _weight(url, weight) if colon else 1.0
    given_up = frozenset(lost.split(",")) if lost else frozenset()
    if unknown := sorted(given_up - weights.keys()):
        raise UnknownGrid(f"{url!r}: lost={','.join(unknown)} is none of its regions: {', '.join(weights)}")
    if not any(weight for region, weight in weights.items() if region not in given_up):
        raise UnknownGrid(f"{url!r} leaves no region for new sessions: one that is not lost needs a weight above 0")
    return RegionsAddress(url, address.name, address.settings, weights, given_up)


def _region(url: str, region: str) -> str:
    try:
        AwsSettings(region=region)
    except ValidationError:
        raise UnknownGrid(
            f"{url!r}: {region!r} is no region: write regions=eu-west-1,us-east-1, or with weights "
            "regions=eu-west-1:3,us-east-1:1"
        ) from None
    return region


def _weight(url: str, text: str) -> float:
    if not _WEIGHT.fullmatch(text):
        raise UnknownGrid(f"{url!r}: {text!r} is no weight: a number such as 3, 0.5, or 0 for no new sessions")
    return float(text)


def parse_aws(url: str) -> Address:
    """The name and settings in ``aws://NAME?region=R&profile=P&endpoint=URL``.

    Raises:
        UnknownGrid: it is not such a URL, or names several regions.
    """
    parts = _split(url)
    if parts.scheme != SCHEME or parts.path not in ("", "/") or parts.fragment or not NAME.fullmatch(parts.netloc):
        raise UnknownGrid(
            f"{url!r} is not a grid's URL: write aws://NAME or aws://NAME?region=eu-west-1; a name has up to 24 "
            "lower-case letters, digits and hyphens, and begins with a letter"
        )
    if has_regions(url):
        raise UnknownGrid(
            f"{url!r} names several regions, and this is of one: write region=, as in aws://NAME?region=R"
        )
    try:
        settings = AwsSettings.model_validate(dict(parse_qsl(parts.query, keep_blank_values=True)))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UnknownGrid(f"{url!r}: {wrong} (options are {OPTIONS})") from error
    return Address(parts.netloc, settings)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise UnknownGrid(f"{url!r} is not a URL: {error}") from error
