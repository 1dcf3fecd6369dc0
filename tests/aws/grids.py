"""Grids on an emulator, and what tests do with them."""

from __future__ import annotations

from urllib.parse import quote

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.settings import AwsSettings
from tests.aws.emulators import REGION, Account


def settings_of(account: Account) -> AwsSettings:
    """How to reach an emulated account; its key is taken from the environment."""
    return AwsSettings(endpoint=account.url, region=REGION)


def clients_of(account: Account) -> Clients:
    """Clients with the account's keys."""
    return AccountClients(account)


class AccountClients(Clients):
    """Clients whose keys are an account's, not the environment's: tests of one process may use several accounts."""

    def __init__(self, account: Account) -> None:
        super().__init__(settings_of(account))
        self._account = account

    def _open_session(self):  # type: ignore[no-untyped-def]
        return self._account.session()


def url_of(account: Account, name: str) -> str:
    """The grid's URL."""
    return f"aws://{name}?region={REGION}&endpoint={quote(account.url, safe=':/')}"
