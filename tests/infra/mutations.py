"""Faults that were planted, each of which the checks must see: what a check that sees none is worth, nobody knows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One fault: in a file below ``modules``, a text and what stands there instead.

    Attributes:
        example: that has the module.
    """

    file: str
    text: str
    instead: str
    example: str = "examples/complete"


LAMBDA_ONLY = "examples/lambda_only"


MUTATIONS = {
    "unknown argument": Mutation("data_plane/table.tf", "deletion_protection_enabled", "delete_protection_enabled"),
    "decided by AWS": Mutation(
        "data_plane/bucket.tf", "  bucket        = local.bucket\n", '  bucket        = local.bucket\n  arn = "x"\n'
    ),
    "missing argument": Mutation("cluster/main.tf", "  role_arn                      = aws_iam_role.cluster.arn\n", ""),
    "secret in the state": Mutation(
        "data_plane/parameter.tf",
        "value_wo         = var.signing_key",
        "value            = nonsensitive(var.signing_key)",
    ),
    "index key without attribute": Mutation("data_plane/table.tf", ', end = "N" }', " }"),
    "two ways to say a key": Mutation(
        "data_plane/table.tf", 'projection_type = "KEYS_ONLY"', 'projection_type = "KEYS_ONLY"\n      range_key = "sk"'
    ),
    "wrong projection": Mutation("data_plane/table.tf", "KEYS_ONLY", "KEY_ONLY"),
    "wrong billing mode": Mutation("data_plane/table.tf", "PAY_PER_REQUEST", "ON_DEMAND"),
    "no TTL": Mutation("data_plane/table.tf", "ttl {\n    enabled        = true", "ttl {\n    enabled        = false"),
    "both encryptions": Mutation("data_plane/queues.tf", "var.customer_key ? null : true", "true"),
    "retention too long": Mutation("data_plane/queues.tf", "1209600", "12096000"),
    "poll too long": Mutation("data_plane/queues.tf", "long_poll_seconds = 20", "long_poll_seconds = 60"),
    "public bucket": Mutation(
        "data_plane/bucket.tf", "restrict_public_buckets = true", "restrict_public_buckets = false"
    ),
    "no bucket key": Mutation(
        "data_plane/bucket.tf", "bucket_key_enabled = var.customer_key", "bucket_key_enabled = false"
    ),
    "no rotation": Mutation("data_plane/key.tf", "enable_key_rotation     = true", "enable_key_rotation     = false"),
    "always the standard tier": Mutation(
        "data_plane/parameter.tf", 'length(local.parameter) > 4096 ? "Advanced" : "Standard"', '"Standard"'
    ),
    "Auto Mode by half": Mutation(
        "cluster/main.tf", "block_storage {\n      enabled = local.auto", "block_storage {\n      enabled = false"
    ),
    "add-ons in Auto Mode": Mutation(
        "cluster/main.tf", "bootstrap_self_managed_addons = !local.auto", "bootstrap_self_managed_addons = true"
    ),
    "a tier that is none": Mutation("cluster/main.tf", "tier = control_plane_scaling_config.value", 'tier = "4xl"'),
    "no region": Mutation(
        "data_plane/queues.tf",
        "  for_each                          = local.queues\n  region                            = var.region\n",
        "  for_each                          = local.queues\n",
    ),
    "no tags": Mutation(
        "workers/main.tf",
        '  image_tag_mutability = "IMMUTABLE"\n  tags                 = local.tags\n',
        '  image_tag_mutability = "IMMUTABLE"\n',
    ),
    "misspelt action": Mutation("data_plane/policies.tf", "dynamodb:BatchGetItem", "dynamodb:BatchGetItems"),
    "wrong name of a queue": Mutation(
        "data_plane/queues.tf", '"htcgrid_${var.name}_${each.key}"', '"htcgrid-${var.name}-${each.key}"'
    ),
    "a REST API that asks nobody": Mutation("control_plane/rest.tf", 'IAM = "AWS_IAM"', 'IAM = "NONE"', LAMBDA_ONLY),
    "a machine that is none": Mutation("function/main.tf", "[var.architecture]", '["arm"]', LAMBDA_ONLY),
    "whole batches again": Mutation("function_agents/main.tf", '["ReportBatchItemFailures"]', "[]", LAMBDA_ONLY),
    "again while they run": Mutation(
        "data_plane/queues.tf",
        "visibility_timeout_seconds        = var.visibility_seconds",
        "visibility_timeout_seconds        = 30",
        LAMBDA_ONLY,
    ),
    "a place of no name": Mutation("function/main.tf", '"queues of its pool"', '"queues of the pool"', LAMBDA_ONLY),
    "ticks again and again": Mutation(
        "control_plane/schedules.tf", "maximum_retry_attempts = 0", "maximum_retry_attempts = 185", LAMBDA_ONLY
    ),
    "ticks that Lambda tries again": Mutation(
        "control_plane/failures.tf", "for_each                     = local.schedules", "for_each = {}", LAMBDA_ONLY
    ),
    "an open route": Mutation(
        "control_plane/api.tf", 'length(local.jwt) > 0 ? "JWT" : "AWS_IAM"', '"NONE"', LAMBDA_ONLY
    ),
    "anybody's API": Mutation(
        "control_plane/api.tf",
        '  source_arn    = "${aws_apigatewayv2_api.this["this"].execution_arn}/*/*"\n',
        "",
        LAMBDA_ONLY,
    ),
    "one name in all regions": Mutation(
        "workers/main.tf",
        '"htcgrid-${var.name}-${var.region}-agent"',
        '"htcgrid-${var.name}-agent"',
        "examples/multi_region",
    ),
}
