"""Bootstrap and teardown touch nothing of another grid, whatever its name, its age and how far it got."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from htcgrid_core.adapters.aws.parameter import key_name, parameter_name
from htcgrid_core.adapters.aws.resources.tags import TAG
from htcgrid_core.cli.main import cli
from htcgrid_core.cloud.address import Address
from htcgrid_core.cloud.bootstrap import bootstrap, teardown
from htcgrid_core.domain.errors import GridUnavailable, IncompatibleGrid, InvalidInput
from tests.aws.earlier_grids import earlier_grid
from tests.aws.emulators import Account
from tests.aws.grids import clients_of, settings_of, url_of


@pytest.fixture(params=["ministack", pytest.param("moto", marks=pytest.mark.slow)])
def account(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account without grids, whose keys are in the environment."""
    found: Account = request.getfixturevalue("aws_account" if request.param == "ministack" else "moto_account")
    account = found if request.param == "ministack" else Account(found.url, "123456789012")  # moto's own
    for name, value in account.environment.items():
        monkeypatch.setenv(name, value)
    clients = clients_of(account)  # which take longer to make than all calls of a test
    monkeypatch.setattr("htcgrid_core.cloud.bootstrap.Clients", lambda _settings: clients)
    return account


def make(account: Account, name: str, *pools: str) -> Any:
    return bootstrap(Address(name, settings_of(account)), pools or ("default",))


def queues(account: Account) -> set[str]:
    return {url.rpartition("/")[2] for url in account.sqs().list_queues().get("QueueUrls", ())}


def tables(account: Account) -> list[str]:
    return account.dynamodb().list_tables()["TableNames"]


def buckets(account: Account) -> list[str]:
    return [each["Name"] for each in account.s3().list_buckets()["Buckets"]]


def parameters(account: Account) -> list[str]:
    found = account.client("ssm").describe_parameters()["Parameters"]
    return sorted(each["Name"] for each in found)


def torn_down(account: Account, name: str, *options: str) -> Result:
    ran = CliRunner().invoke(cli, ["aws", "teardown", url_of(account, name), "--json", "--yes", *options])
    assert ran.exit_code == 0, ran.output
    return ran


def assert_nothing_left(account: Account) -> None:
    assert (queues(account), tables(account), buckets(account), parameters(account)) == (set(), [], [], [])


def test_a_grid_whose_name_another_begins_with_is_left(account: Account) -> None:
    """It listed queues by their names' prefix, which are desk-dev's, too."""
    make(account, "desk-dev")
    make(account, "desk", "dev")
    teardown(Address("desk", settings_of(account)))
    assert queues(account) == {f"htcgrid_desk-dev_default_{each}" for each in ("high", "normal", "low", "dead")}
    assert tables(account) == ["htcgrid-desk-dev"]
    assert parameters(account) == ["/htcgrid/desk-dev", "/htcgrid/desk-dev/key"]
    teardown(Address("desk-dev", settings_of(account)))
    assert_nothing_left(account)


def test_two_grids_share_no_queue_however_their_names_are_cut(account: Account) -> None:
    one, other = make(account, "x", "y-z"), make(account, "x-y", "z")
    urls = [url for found in (one, other) for each in found.queues.values() for url in each.model_dump().values()]
    assert len(set(urls)) == 8


def test_an_earlier_versions_grid_keeps_its_names_and_gets_tags(account: Account) -> None:
    before = earlier_grid(account, "book", "default")
    after = make(account, "book", "default", "big")
    assert (after.table, after.bucket, after.key) == (before.table, before.bucket, before.key)
    assert after.queues["default"] == before.queues["default"]
    assert after.queues["big"].high.endswith("/htcgrid_book_big_high")
    for url in (*after.queues["default"].model_dump().values(), *after.queues["big"].model_dump().values()):
        assert account.sqs().list_queue_tags(QueueUrl=url)["Tags"] == {TAG: "book"}
    assert account.s3().get_bucket_tagging(Bucket=after.bucket)["TagSet"] == [{"Key": TAG, "Value": "book"}]
    teardown(Address("book", settings_of(account)))
    assert_nothing_left(account)


def test_an_earlier_versions_grid_is_torn_down_but_for_what_another_uses(account: Account) -> None:
    """Their queues are the same ones: htcgrid-x-y-z-high."""
    before = earlier_grid(account, "x", "y-z")
    other = earlier_grid(account, "x-y", "z")
    done = json.loads(torn_down(account, "x").stdout)
    removed = {"table htcgrid-x", f"bucket {before.bucket}", "parameter /htcgrid/x", "parameter /htcgrid/x/key"}
    assert set(done["removed"]) == removed
    assert len(done["left"]) == 4
    assert all("grid 'x-y' uses it" in text for text in done["left"])
    assert len(queues(account)) == 4
    teardown(Address("x-y", settings_of(account)))
    assert other.table not in tables(account)
    assert_nothing_left(account)


def test_a_grid_without_its_parameter_is_known_by_tags(account: Account) -> None:
    """As after a bootstrap that was interrupted, or when somebody deleted it."""
    make(account, "desk")
    make(account, "desk-dev")
    account.client("ssm").delete_parameter(Name=parameter_name("desk"))
    torn_down(account, "desk")
    assert tables(account) == ["htcgrid-desk-dev"]
    assert len(queues(account)) == 4
    assert parameters(account) == ["/htcgrid/desk-dev", "/htcgrid/desk-dev/key"]


def test_what_has_only_the_name_is_left_and_said(account: Account) -> None:
    before = earlier_grid(account, "desk", "default")
    earlier_grid(account, "desk-dev", "default")
    account.client("ssm").delete_parameter(Name=parameter_name("desk"))
    ran = torn_down(account, "desk")
    done = json.loads(ran.stdout)
    assert done["removed"] == [f"parameter {key_name('desk')}"]
    assert len(done["left"]) == 6, "four queues, table and bucket, and none of desk-dev's"
    assert not any("dev" in text for text in done["left"])
    assert all(f"{TAG}=desk" in text for text in done["left"])
    assert ran.stderr.count("left ") == 6
    assert before.table in tables(account)
    assert len(queues(account)) == 8


def test_an_interrupted_teardown_is_carried_on(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of an earlier version's grid, whose parameter is gone by then."""
    earlier_grid(account, "book", "default")

    def no(bucket: object) -> None:
        raise GridUnavailable("no")

    with monkeypatch.context() as broken:
        broken.setattr("htcgrid_core.adapters.aws.resources.buckets.Bucket.remove", no)
        with pytest.raises(GridUnavailable):
            teardown(Address("book", settings_of(account)))
    assert parameters(account) == [key_name("book")]
    teardown(Address("book", settings_of(account)))
    assert_nothing_left(account)


def test_it_shows_what_it_would_remove_before_it_asks(account: Account) -> None:
    make(account, "desk")
    ran = CliRunner().invoke(cli, ["aws", "teardown", url_of(account, "desk")], input="n\n")
    assert ran.exit_code == 1
    for label in ("table htcgrid-desk", "queue htcgrid_desk_default_low", "parameter /htcgrid/desk"):
        assert f"to be removed: {label}\n" in ran.stderr
    assert tables(account) == ["htcgrid-desk"]


def test_a_damaged_parameter_is_not_gone_by(account: Account) -> None:
    make(account, "desk")
    account.client("ssm").put_parameter(Name=parameter_name("desk"), Value="{", Type="String", Overwrite=True)
    with pytest.raises(IncompatibleGrid, match="aws ssm delete-parameter --name /htcgrid/desk"):
        teardown(Address("desk", settings_of(account)))
    assert tables(account) == ["htcgrid-desk"]


@pytest.mark.parametrize("tags", [{}, {TAG: "other"}], ids=["untagged", "another's"])
def test_bootstrap_takes_nothing_over_that_may_be_anothers(account: Account, tags: dict[str, str]) -> None:
    """It took any queue, table or bucket of the right name for its own."""
    account.sqs().create_queue(QueueName="htcgrid_desk_default_low", tags=tags)
    with pytest.raises(InvalidInput, match=r"queue htcgrid_desk_default_low is there already.*nothing was made"):
        make(account, "desk")
    assert (tables(account), buckets(account), parameters(account)) == ([], [], [])
    assert len(queues(account)) == 1


def test_bootstrap_carries_on_where_it_was_interrupted(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between making the bucket and tagging it."""

    def no(bucket: object, grid: str) -> None:
        raise GridUnavailable("no")

    with monkeypatch.context() as broken:
        broken.setattr("htcgrid_core.adapters.aws.resources.buckets.Bucket.claim", no)
        with pytest.raises(GridUnavailable):
            make(account, "desk")
    assert make(account, "desk").bucket in buckets(account)
