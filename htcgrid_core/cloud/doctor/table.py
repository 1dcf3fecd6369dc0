"""The table: there, of our form, and emptied by its TTL."""

from __future__ import annotations

from typing import Any

from htcgrid_core.adapters.aws.dynamodb import schema
from htcgrid_core.adapters.aws.resources.tables import USABLE, Table
from htcgrid_core.local.doctor.finding import Findings, ok, problem, warning

ANEW = "`htcgrid aws bootstrap` or Terraform makes it"
FORM = "make the grid anew: DynamoDB does not change keys"


def table(found: Table) -> Findings:
    """Status, keys and indexes."""
    described = found.description()
    if described is None:
        yield problem("table", f"{found.name} does not exist", ANEW)
        return
    status = described["TableStatus"]
    if status not in USABLE:
        yield problem("table", f"{found.name} is {status}", "wait until it is ACTIVE, or make it anew")
        return
    wrong = list(_wrong(found.name, described))
    yield from wrong
    if not wrong:
        yield ok("table", f"{found.name} is {status}, with its keys and {len(schema.INDEX_KEYS)} indexes")


def _wrong(name: str, described: Any) -> Findings:
    expected: Any = schema.create_table(name)
    if _keys(described) != _keys(expected):
        yield problem("table", f"{name} has the keys {_words(described)}, not {_words(expected)}", FORM)
    indexes = {index["IndexName"]: index for index in described.get("GlobalSecondaryIndexes", ())}
    for wanted in expected["GlobalSecondaryIndexes"]:
        index = indexes.get(wanted["IndexName"])
        if index is None:
            yield problem("table", f"{name} lacks its index {wanted['IndexName']}", f"{ANEW}")
        elif _keys(index) != _keys(wanted):
            text = f"index {wanted['IndexName']} of {name} has the keys {_words(index)}, not {_words(wanted)}"
            yield problem("table", text, "delete it and add the right one")
        elif index.get("IndexStatus", "ACTIVE") not in USABLE:
            text = f"index {wanted['IndexName']} of {name} is {index['IndexStatus']}"
            yield problem("table", text, "wait until it is ACTIVE")


def _keys(described: Any) -> set[tuple[str, str]]:
    return {(key["AttributeName"], key["KeyType"]) for key in described["KeySchema"]}


def _words(described: Any) -> str:
    return " and ".join(key["AttributeName"] for key in described["KeySchema"])


def expiry(found: Table) -> Findings:
    """Time to live, by which all but sessions and blobs goes."""
    said = found.expiry()
    status, attribute = said.get("TimeToLiveStatus", "DISABLED"), said.get("AttributeName", schema.TTL)
    if status in ("ENABLED", "ENABLING") and attribute == schema.TTL:
        yield ok("expiry", f"items of {found.name} are deleted by their {schema.TTL}")
    else:
        text = f"TTL of {found.name} is {status}" + ("" if attribute == schema.TTL else f" on {attribute!r}")
        advice = f"enable it on the attribute {schema.TTL!r}: `htcgrid aws bootstrap` does"
        yield warning("expiry", f"{text}: what sessions leave is kept, and paid for, for ever", advice)
