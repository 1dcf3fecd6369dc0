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
    found = list(resources)
    wrong = [f"{each.address}: {text}" for each in found for rule in RULES for text in rule(each.type, each.values)]
    return [*wrong, *_comes_again_too_soon(found), *_twice(found), *_forgotten(found)]


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


def _function(kind: str, values: Values) -> Iterator[str]:
    if kind != "aws_lambda_function":
        return
    if not set(values["architectures"]) <= {"arm64", "x86_64"}:
        yield f"there is no machine {values['architectures']}"
    if not 1 <= values["timeout"] <= 900:
        yield f"a function takes up to 900 seconds, not {values['timeout']}"


def _mapping(kind: str, values: Values) -> Iterator[str]:
    if kind != "aws_lambda_event_source_mapping" or ":sqs:" not in values["event_source_arn"]:
        return
    if values["function_response_types"] != ["ReportBatchItemFailures"]:
        yield "all messages of a batch come again when one of them does"
    if not values["scaling_config"] or values["scaling_config"][0]["maximum_concurrency"] < 2:
        yield "AWS takes a maximum concurrency from 2 on"


def _lost(kind: str, values: Values) -> Iterator[str]:
    """What nobody waits for is kept when it fails for good."""
    of_stream = kind == "aws_lambda_event_source_mapping" and ":kinesis:" in values["event_source_arn"]
    if of_stream and not values["destination_config"]:
        yield "records that failed often enough are dropped, and nobody is told"
    if kind == "aws_cloudwatch_event_target" and not values["dead_letter_config"]:
        yield "an event that cannot be delivered is dropped, and nobody is told"


def _schedule(kind: str, values: Values) -> Iterator[str]:
    if kind == "aws_scheduler_schedule":
        policy = values["target"][0]["retry_policy"]
        if not policy or policy[0]["maximum_retry_attempts"] != 0:
            yield "a tick that failed would be tried again for a day, beside all that follow it"


def _called_from_outside(kind: str, values: Values) -> Iterator[str]:
    if kind == "aws_apigatewayv2_route" and values["authorization_type"] not in ("AWS_IAM", "JWT"):
        yield "asks nobody who calls"
    if kind == "aws_lambda_permission" and not values["source_arn"]:
        yield "lets everybody's API call the function"


def _comes_again_too_soon(resources: list[Resource]) -> Iterator[str]:
    """A queue hides messages for six times as long as the function works on them that is mapped to it, as AWS says."""
    queues = {each.values["arn"]: each.values for each in resources if each.type == "aws_sqs_queue"}
    functions = {each.values["arn"]: each.values for each in resources if each.type == "aws_lambda_function"}
    for each in resources:
        if each.type == "aws_lambda_event_source_mapping" and each.values["event_source_arn"] in queues:
            hidden = queues[each.values["event_source_arn"]]["visibility_timeout_seconds"]
            timeout = functions[each.values["function_name"]]["timeout"]
            if hidden < 6 * timeout:
                yield f"{each.address}: messages come again after {hidden} s, and the function may take {timeout} s"


def _twice(resources: list[Resource]) -> Iterator[str]:
    """What is of the whole account is called differently in each region."""
    seen: dict[tuple[str, str], str] = {}
    for each in resources:
        if each.type in ("aws_iam_policy", "aws_iam_role", "aws_budgets_budget"):
            other = seen.setdefault((each.type, each.values["name"]), each.address)
            if other != each.address:
                yield f"{each.address}: has the name of {other}"


def _forgotten(resources: list[Resource]) -> Iterator[str]:
    """Functions that EventBridge or a schedule invokes, asynchronously: it is said what becomes of what fails."""
    said = {
        each.values["function_name"] for each in resources if each.type == "aws_lambda_function_event_invoke_config"
    }
    for each in resources:
        asynchronous = {"aws_cloudwatch_event_target": "arn", "aws_scheduler_schedule": "target"}.get(each.type)
        if asynchronous:
            target = each.values[asynchronous]
            arn = target if isinstance(target, str) else target[0]["arn"]
            if arn.rpartition(":")[2] not in said:
                yield f"{each.address}: Lambda tries {arn} three times, then forgets what it was invoked with"


def _tags(kind: str, values: Values) -> Iterator[str]:
    if "tags" in values and "htcgrid:grid" not in (values["tags"] or {}):
        yield "has no tag htcgrid:grid"


RULES: tuple[Callable[[str, Values], Iterator[str]], ...] = (
    _table, _queue, _bucket, _cluster, _key, _parameter, _function, _mapping, _lost, _schedule, _called_from_outside,
    _tags,
)  # fmt: skip
