"""The few data sources that say something without asking AWS."""

from __future__ import annotations

import json
from typing import Any

from tests.infra.standin.inventing import Place
from tests.infra.standin.values import UNKNOWN

Values = dict[str, Any]


def read(type_name: str, config: Values, place: Place) -> Values:
    """What AWS says.

    Raises:
        NotImplementedError: it would have to be asked.
    """
    known = {
        "aws_availability_zones": _zones,
        "aws_caller_identity": _identity,
        "aws_iam_policy_document": _policy,
        "aws_partition": _partition,
        "aws_region": _region,
    }
    if type_name not in known:
        raise NotImplementedError(f"the stand-in does not know what AWS says of {type_name}")
    return {
        name: None if value is UNKNOWN else value for name, value in (config | known[type_name](config, place)).items()
    }


def _zones(_: Values, place: Place) -> Values:
    names = [place.region + letter for letter in "abc"]
    ids = [f"{place.region}-az{number}" for number in (1, 2, 3)]
    return {"names": names, "zone_ids": ids, "group_names": [place.region], "id": place.region, "region": place.region}


def _identity(_: Values, place: Place) -> Values:
    arn = f"arn:aws:iam::{place.account}:role/deployer"
    return {"account_id": place.account, "arn": arn, "user_id": "AROAEXAMPLE:session", "id": place.account}


def _partition(_: Values, place: Place) -> Values:
    return {"partition": "aws", "dns_suffix": "amazonaws.com", "id": "aws", "reverse_dns_prefix": "com.amazonaws"}


def _region(_: Values, place: Place) -> Values:
    return {"region": place.region, "name": place.region, "id": place.region, "description": place.region}


def _policy(config: Values, _: Place) -> Values:
    statements = [_statement(each) for each in config.get("statement") or ()]
    for text in config.get("source_policy_documents") or ():
        statements = [*json.loads(text)["Statement"], *statements]
    document = {"Version": config.get("version") or "2012-10-17", "Statement": statements}
    if config.get("policy_id"):
        document["Id"] = config["policy_id"]
    return {
        "json": json.dumps(document, indent=2),
        "minified_json": json.dumps(document, separators=(",", ":")),
        "id": "1",
    }


def _statement(block: Values) -> Values:
    found: Values = {"Sid": block["sid"]} if block.get("sid") else {}
    found["Effect"] = block.get("effect") or "Allow"
    for name in ("Action", "NotAction", "Resource", "NotResource"):
        plural = {"Action": "actions", "NotAction": "not_actions", "Resource": "resources"}.get(name, "not_resources")
        if block.get(plural):
            found[name] = _one_or_more(block[plural])
    for name, key in (("Principal", "principals"), ("NotPrincipal", "not_principals")):
        if block.get(key):
            found[name] = {each["type"]: _one_or_more(each["identifiers"]) for each in block[key]}
            if found[name] == {"*": "*"}:
                found[name] = "*"
    conditions: dict[str, dict[str, Any]] = {}
    for each in block.get("condition") or ():
        conditions.setdefault(each["test"], {})[each["variable"]] = _one_or_more(each["values"])
    return {**found, "Condition": conditions} if conditions else found


def _one_or_more(values: list[str]) -> Any:
    return values[0] if len(values) == 1 else sorted(values)
