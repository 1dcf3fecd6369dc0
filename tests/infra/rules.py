"""House rules: what the schema of Terraform's AWS provider cannot see, and AWS would refuse, or we would regret."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.infra.terraform import Resource

Values = dict[str, Any]
# Of the whole account: everything else names its region, or lands silently in the provider's.
GLOBAL = ("aws_iam_", "aws_budgets_")


def violations(resources: Iterable[Resource]) -> list[str]:
    """What is wrong, each with the resource's address."""
    return [f"{each.address}: {text}" for each in resources for rule in RULES for text in rule(each.type, each.values)]


def _table(kind: str, values: Values) -> Iterator[str]:
    if kind != "aws_dynamodb_table":
        return
    declared = {each["name"] for each in values["attribute"]}
    used = {values["hash_key"], values["range_key"]} - {None}
    if values["billing_mode"] not in ("PAY_PER_REQUEST", "PROVISIONED"):
        yield f"there is no billing mode {values['billing_mode']}"
    for index in values["global_secondary_index"]:
        keys = {key["attribute_name"] for key in index["key_schema"]}
        if keys and index.get("range_key"):
            yield f"index {index['name']} has key_schema and range_key"
        if index["projection_type"] not in ("ALL", "INCLUDE", "KEYS_ONLY"):
            yield f"there is no projection {index['projection_type']}"
        used |= keys
    if used != declared:
        yield f"keys {sorted(used)} are not the attributes {sorted(declared)}"
    if not values["ttl"] or not values["ttl"][0]["enabled"]:
        yield "without TTL nothing is ever deleted"


def _queue(kind: str, values: Values) -> Iterator[str]:
    if kind != "aws_sqs_queue":
        return
    if values["sqs_managed_sse_enabled"] and values["kms_master_key_id"]:
        yield "is encrypted by both SQS and KMS"
    for name, low, high in (
        ("message_retention_seconds", 60, 1209600),
        ("visibility_timeout_seconds", 0, 43200),
        ("receive_wait_time_seconds", 0, 20),
    ):
        if values[name] is not None and not low <= values[name] <= high:
            yield f"{name} is from {low} to {high}, not {values[name]}"


def _bucket(kind: str, values: Values) -> Iterator[str]:
    if kind == "aws_s3_bucket":
        for name in ("lifecycle_rule", "versioning", "server_side_encryption_configuration"):
            if values.get(name):
                yield f"{name} is a resource of its own"
    if kind == "aws_s3_bucket_public_access_block" and not all(
        values[name]
        for name in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    ):
        yield "lets the bucket be public"
    if kind == "aws_s3_bucket_server_side_encryption_configuration":
        for rule in values["rule"]:
            for by in rule["apply_server_side_encryption_by_default"]:
                if by["sse_algorithm"] == "aws:kms" and not rule["bucket_key_enabled"]:
                    yield "without a bucket key each object is a call of KMS"


def _cluster(kind: str, values: Values) -> Iterator[str]:
    if kind != "aws_eks_cluster":
        return
    together = (
        bool(values["compute_config"]) and values["compute_config"][0]["enabled"],
        bool(values["storage_config"]) and values["storage_config"][0]["block_storage"][0]["enabled"],
        bool(values["kubernetes_network_config"])
        and values["kubernetes_network_config"][0]["elastic_load_balancing"][0]["enabled"],
    )
    if any(together) != all(together):
        yield "Auto Mode is compute, storage and load balancing together"
    if any(together) and values["bootstrap_self_managed_addons"] is not False:
        yield "Auto Mode takes no self-managed add-ons"
    if values["vpc_config"][0]["endpoint_public_access"]:
        yield "its API is on the internet"
    for each in values["control_plane_scaling_config"]:
        if each["tier"] not in ("standard", "tier-xl", "tier-2xl", "tier-4xl", "tier-8xl"):
            yield f"there is no tier {each['tier']}"


def _key(kind: str, values: Values) -> Iterator[str]:
    if kind == "aws_kms_key" and not values["enable_key_rotation"]:
        yield "its key is never rotated"


def _parameter(kind: str, values: Values) -> Iterator[str]:
    if kind == "aws_ssm_parameter":
        if values["type"] == "String" and len(values["value"]) > 4096 and values["tier"] == "Standard":
            yield "is longer than the standard tier's 4,096 characters"
        if values["type"] == "SecureString" and values["value"]:
            yield "keeps its secret in the state"


def _tags(kind: str, values: Values) -> Iterator[str]:
    if "tags" in values and "htcgrid:grid" not in (values["tags"] or {}):
        yield "has no tag htcgrid:grid"


RULES: tuple[Callable[[str, Values], Iterator[str]], ...] = (_table, _queue, _bucket, _cluster, _key, _parameter, _tags)
