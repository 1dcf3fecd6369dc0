"""The keys of a grid on AWS keep the contract of KeyStore; and who may not read those after the first."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from htcgrid_core.adapters.aws.keys import SsmKeys
from htcgrid_core.domain.errors import AccessDenied, IncompatibleGrid, UnknownGrid
from htcgrid_core.testing.contracts import KeyStoreContract
from tests.aws.emulators import Account
from tests.aws.grids import clients_of

FIRST = "/htcgrid/book/key"


def keys_in(account: Account, name: str = FIRST) -> Callable[[], SsmKeys]:
    """A grid's first key as bootstrap makes it, and what opens it."""
    account.client("ssm").put_parameter(Name=name, Value="ab" * 32, Type="SecureString")
    return lambda: SsmKeys(clients_of(account), "book", name)


class TestSsmKeys(KeyStoreContract):
    @pytest.fixture(params=[FIRST, "the-key"])
    def opened(self, aws_account: Account, request: pytest.FixtureRequest) -> Callable[[], SsmKeys]:
        return keys_in(aws_account, request.param)


def test_a_grid_without_any(aws_account: Account) -> None:
    with pytest.raises(UnknownGrid, match=r"bootstrap book"):
        SsmKeys(clients_of(aws_account), "book", FIRST).read()


def test_a_later_one_that_is_no_secret(aws_account: Account) -> None:
    opened = keys_in(aws_account)
    aws_account.client("ssm").put_parameter(Name=f"{FIRST}/2", Value="c0ffee, really", Type="SecureString")
    with pytest.raises(IncompatibleGrid, match=f"{FIRST}/2 is not 32 bytes") as caught:
        opened().read()
    assert "c0ffee" not in str(caught.value)


def test_what_stands_below_and_is_no_number_is_not_a_key(aws_account: Account) -> None:
    opened = keys_in(aws_account)
    aws_account.client("ssm").put_parameter(Name=f"{FIRST}/of-the-cellar", Value="x", Type="String")
    assert [stored.number for stored in opened().read().keys] == [1]


def test_who_may_read_the_first_alone_has_that(aws_account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role from before there were others: on a grid that nobody has rotated all is as it was."""
    opened = keys_in(aws_account)

    def refuse(_: SsmKeys) -> None:
        raise AccessDenied("ssm:GetParametersByPath")

    monkeypatch.setattr(SsmKeys, "_read_later", refuse)
    found = opened().read()
    assert [stored.number for stored in found.keys] == [1]
    assert "GetParametersByPath" in str(found.denied)


def test_a_later_one_is_encrypted_as_the_one_before(aws_account: Account) -> None:
    ssm = aws_account.client("ssm")
    opened = keys_in(aws_account)
    ssm.put_parameter(Name=FIRST, Value="ab" * 32, Type="SecureString", KeyId="alias/desk", Overwrite=True)
    opened().make(2)
    named = [{"Key": "Name", "Option": "Equals", "Values": [f"{FIRST}/2"]}]
    (found,) = ssm.describe_parameters(ParameterFilters=named)["Parameters"]
    assert (found["KeyId"], found["Type"]) == ("alias/desk", "SecureString")
