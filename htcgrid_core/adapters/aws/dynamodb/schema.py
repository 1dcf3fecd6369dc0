"""The one DynamoDB table of a grid: its keys, its four indexes and its expiry, for whoever creates it.

The indexes hold sessions only, and nothing but their keys. An entry by time is written once; one of ``live`` goes with
the session's end, those of ``ended`` come with it, and no other write touches them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import CreateTableInputTypeDef, UpdateTimeToLiveInputTypeDef

PARTITION, SORT = "pk", "sk"
Key = tuple[str, str]  # an item's values of both
BY_TIME_KEY, SUBMITTED_AT = "all", "at"  # every session, by the time of its submission
LIVE_KEY = "live"  # sessions that have not ended
ENDED_KEY, EXPIRES_AT = "ended", "exp"  # sessions that have, by the time at which they may be deleted
ENDED_AT = "end"  # the same by the time of their ends
BY_TIME_INDEX, LIVE_INDEX, ENDED_INDEX = "sessions-by-time", "sessions-live", "sessions-ended"
ENDS_INDEX = "sessions-by-end"
INDEX_KEYS = {
    BY_TIME_INDEX: (BY_TIME_KEY, SUBMITTED_AT),
    LIVE_INDEX: (LIVE_KEY, PARTITION),
    ENDED_INDEX: (ENDED_KEY, EXPIRES_AT),
    ENDS_INDEX: (ENDED_KEY, ENDED_AT),
}
TTL = "ttl"  # seconds since the epoch, after which DynamoDB deletes the item


def create_table(name: str) -> CreateTableInputTypeDef:
    """The arguments of CreateTable, paid by request."""
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": PARTITION, "AttributeType": "S"},
            {"AttributeName": SORT, "AttributeType": "S"},
            {"AttributeName": BY_TIME_KEY, "AttributeType": "S"},
            {"AttributeName": SUBMITTED_AT, "AttributeType": "N"},
            {"AttributeName": LIVE_KEY, "AttributeType": "S"},
            {"AttributeName": ENDED_KEY, "AttributeType": "S"},
            {"AttributeName": EXPIRES_AT, "AttributeType": "N"},
            {"AttributeName": ENDED_AT, "AttributeType": "N"},
        ],
        "KeySchema": [
            {"AttributeName": PARTITION, "KeyType": "HASH"},
            {"AttributeName": SORT, "KeyType": "RANGE"},
        ],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": index,
                "KeySchema": [
                    {"AttributeName": hash_key, "KeyType": "HASH"},
                    {"AttributeName": range_key, "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
            for index, (hash_key, range_key) in INDEX_KEYS.items()
        ],
    }


def time_to_live(name: str) -> UpdateTimeToLiveInputTypeDef:
    """The arguments of UpdateTimeToLive."""
    return {"TableName": name, "TimeToLiveSpecification": {"Enabled": True, "AttributeName": TTL}}
