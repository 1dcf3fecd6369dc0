"""What cannot become a grid is refused before anything is made, with the reason."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from click.testing import CliRunner

from htcgrid_core import GridError, connect
from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.mixed_endpoints import check_endpoints
from htcgrid_core.adapters.aws.parameter import parameter_name
from htcgrid_core.adapters.aws.resources.parameters import Parameter
from htcgrid_core.adapters.aws.resources.patience import Patience
from htcgrid_core.cli.main import cli
from htcgrid_core.cloud.address import Address, parse_aws
from htcgrid_core.cloud.bootstrap import bootstrap, teardown
from htcgrid_core.domain.errors import InvalidInput
from tests.aws.earlier_grids import earlier_grid
from tests.aws.emulators import REGION, Account
from tests.aws.grids import clients_of, settings_of
from tests.aws.test_teardown import assert_nothing_left

LONG_REGION = "eu-northwestcentral-1"


@pytest.fixture
def account(aws_account: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account without grids, whose keys are in the environment."""
    for name, value in aws_account.environment.items():
        monkeypatch.setenv(name, value)
    return aws_account


@pytest.mark.parametrize(
    ("name", "pools", "region", "says"),
    [
        ("desk-", ["default"], REGION, "'desk-' is not a new grid's name.*the last no hyphen"),
        ("desk", ["fast-"], REGION, "'fast-' is not a new pool's name.*nor the last is a hyphen"),
        ("desk", ["default", "p" * 33], REGION, "new pool's name: up to 32"),
        ("desk", ["a_b"], REGION, "'a_b' is not a new pool's name"),
        ("d" * 24, ["default"], LONG_REGION, "needs a shorter name.*S3 allows 63"),
        ("desk", [], REGION, "needs a pool"),
        ("desk", [f"pool-{at:027}" for at in range(24)], REGION, "24 pools are too many.*SSM allows 8,192"),
    ],
    ids=["grid-", "pool-", "long pool", "underscore", "long bucket", "no pool", "many pools"],
)  # fmt: skip
def test_before_anything_is_made(account: Account, name: str, pools: Sequence[str], region: str, says: str) -> None:
    address = Address(name, settings_of(account).model_copy(update={"region": region}))
    with pytest.raises(InvalidInput, match=says):
        bootstrap(address, pools)
    assert_nothing_left(account)


def test_a_number_of_agents_that_no_parameter_may_have(account: Account) -> None:
    """It was written, and the grid could not be opened any more."""
    address = Address("desk", settings_of(account))
    bootstrap(address, ["default"])
    with pytest.raises(InvalidInput, match="one agent or more"):
        bootstrap(address, ["default"], agents=0)


def test_an_earlier_grid_keeps_a_name_that_a_new_one_may_not_have(account: Account) -> None:
    earlier_grid(account, "desk-", "fast-")
    assert list(bootstrap(Address("desk-", settings_of(account)), ["fast-", "default"]).queues) == ["fast-", "default"]


@pytest.mark.parametrize("url", ["aws://desk?region=eusc-de-east-1", "aws://desk?region=us-gov-west-1"])
def test_regions_of_all_partitions(url: str) -> None:
    assert parse_aws(url).url == url


def test_a_parameter_that_the_standard_tier_has_no_room_for_is_an_advanced_one(account: Account) -> None:
    """From eleven pools on; AWS refuses more than 4,096 characters, after all else was made."""
    clients = clients_of(account)
    for size, tier in ((4096, "Standard"), (4097, "Advanced")):
        Parameter(clients, "desk", parameter_name("desk"), Patience(print)).write("x" * size)
        (found,) = clients.ssm.describe_parameters()["Parameters"]
        assert found["Tier"] == tier


class TestEndpoints:
    """An emulator for some services, and AWS itself for those that were forgotten."""

    @pytest.fixture
    def some(self, account: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
        """Variables for all services but STS and S3."""
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        for service in ("DYNAMODB", "SQS", "SSM"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", account.url)
        return account

    @pytest.mark.parametrize("command", ["bootstrap", "teardown"])
    def test_are_named(self, some: Account, command: str) -> None:
        ran = CliRunner().invoke(cli, ["aws", command, "desk", "--region", REGION])
        assert ran.exit_code == 2
        assert f"DYNAMODB is asked at {some.url}, but S3 and STS at AWS's own https://s3" in ran.stderr
        assert "set AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL_STS, or AWS_ENDPOINT_URL for all" in ran.stderr
        assert some.client("ssm").describe_parameters()["Parameters"] == []

    def test_of_a_vpc_are_aws_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "https://vpce-0a1b.sqs.eu-west-1.vpce.amazonaws.com")
        check_endpoints(Clients(parse_aws("aws://desk?region=eu-west-1").settings))

    def test_are_right_if_each_is_named(self, some: Account, monkeypatch: pytest.MonkeyPatch) -> None:
        for service in ("S3", "STS"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", some.url)
        address = parse_aws(f"aws://desk?region={REGION}")
        assert bootstrap(address, ["default"]).table == "htcgrid-desk"
        teardown(address)

    def test_are_hinted_at_where_nobody_answers(self, some: Account, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever connects, serves or looks is not refused beforehand, as VPCs may have endpoints of any name."""
        monkeypatch.delenv("AWS_ENDPOINT_URL_DYNAMODB")
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:9")
        with pytest.raises(GridError, match=r"AWS_ENDPOINT_URL_SQS, AWS_ENDPOINT_URL_SSM is set, but not .*_DYNAMODB"):
            connect("aws://desk?region=eu-west-1")
