"""A DynamoDB store on an emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from htcgrid_core.adapters.aws.dynamodb.schema import create_table, time_to_live
from htcgrid_core.adapters.aws.dynamodb.store import DynamoStore
from tests.aws.emulators import Account

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLE = "htcgrid-test"


def make_table(account: Account) -> None:
    """The table as bootstrap makes it."""
    client = account.dynamodb()
    client.create_table(**create_table(TABLE))
    client.update_time_to_live(**time_to_live(TABLE))


def store_of(
    account: Account, *, lanes: int | None = None, whole_lanes: int = 1, client: DynamoDBClient | None = None
) -> DynamoStore:
    """A store with a client of its own, as another process would have it."""
    made = client or account.dynamodb()
    return DynamoStore(lambda: made, TABLE, lanes=lanes, whole_lanes=whole_lanes)
