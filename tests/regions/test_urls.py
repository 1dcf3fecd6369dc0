"""URLs that name several regions, well and badly."""

from __future__ import annotations

import pytest

from htcgrid_core.client.connect import connect
from htcgrid_core.cloud.address import has_regions, parse_aws, parse_regions
from htcgrid_core.domain.errors import UnknownGrid


def test_what_a_url_names() -> None:
    url = "aws://book?regions=eu-west-1:3,us-east-1:0.5,ap-south-1:0&lost=us-east-1&profile=desk"
    found = parse_regions(url)
    assert (found.url, found.name, found.settings.profile) == (url, "book", "desk")
    assert found.weights == {"eu-west-1": 3.0, "us-east-1": 0.5, "ap-south-1": 0.0}
    assert found.lost == {"us-east-1"}
    assert found.each[0].url == "aws://book?region=eu-west-1&profile=desk"
    assert parse_regions("aws://book?regions=eu-west-1,us-east-1").weights == {"eu-west-1": 1.0, "us-east-1": 1.0}
    assert not has_regions("aws://book?region=eu-west-1")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("regions=", "is no region"),
        ("regions=eu-west-1,", "is no region"),
        ("regions=Ireland", "is no region"),
        ("regions=eu-west-1,eu-west-1:2", "twice"),
        ("regions=eu-west-1:x", "is no weight"),
        ("regions=eu-west-1:-1", "is no weight"),
        ("regions=eu-west-1:inf", "is no weight"),
        ("regions=eu-west-1:0", "no region for new sessions"),
        ("regions=eu-west-1&lost=eu-west-1", "no region for new sessions"),
        ("regions=eu-west-1&lost=us-east-1", "none of its regions"),
        ("regions=eu-west-1&region=eu-west-1", "both region and regions"),
        ("regions=eu-west-1&nonsense=1", "nonsense"),
    ],
)
def test_what_names_nothing(options: str, why: str) -> None:
    with pytest.raises(UnknownGrid, match=why):
        connect(f"aws://book?{options}")


def test_what_is_no_url() -> None:
    with pytest.raises(UnknownGrid, match="is not a URL"):
        connect("aws://[?regions=eu-west-1,us-east-1")


def test_what_is_of_one_region() -> None:
    with pytest.raises(UnknownGrid, match="region="):
        parse_aws("aws://book?regions=eu-west-1,us-east-1")
