# By this the grid is found: htcgrid_core/adapters/aws/parameter.py reads it.

locals {
  parameter = jsonencode({
    version = 1
    table   = aws_dynamodb_table.this.name
    bucket  = aws_s3_bucket.this.bucket
    account = local.account
    queues = { for pool in var.pools : pool => merge(
      { for priority in local.priorities : priority => aws_sqs_queue.this["${pool}_${priority}"].id },
      { dead = aws_sqs_queue.dead[pool].id }
    ) }
    key      = aws_ssm_parameter.key.name
    defaults = { lease_seconds = var.lease_seconds, agents = var.agents, cache_bytes = var.cache_bytes, audit_days = var.audit_days, retention = var.retention }
  })
  high_throughput = "arn:${data.aws_partition.this.partition}:ssm:${var.region}:${local.account}:servicesetting/ssm/parameter-store/high-throughput-enabled"
}

resource "aws_ssm_parameter" "key" {
  region           = var.region
  name             = "/htcgrid/${var.name}/key"
  description      = "Signs pickles of grid ${var.name}"
  type             = "SecureString"
  key_id           = local.key_arn
  value_wo         = var.signing_key
  value_wo_version = var.signing_key_version
  tags             = local.tags
}

resource "aws_ssm_parameter" "this" {
  region      = var.region
  name        = "/htcgrid/${var.name}"
  description = "Where grid ${var.name} keeps everything"
  type        = "String"
  tier        = length(local.parameter) > 4096 ? "Advanced" : "Standard"
  value       = local.parameter
  tags        = local.tags

  # Last of all: whoever finds the grid finds it whole.
  depends_on = [aws_sqs_queue_redrive_allow_policy.dead, aws_s3_bucket_policy.this]

  lifecycle {
    precondition {
      condition     = length(local.parameter) <= 8192
      error_message = "Too many pools for one grid: its parameter would be longer than the 8,192 characters that SSM allows."
    }
  }
}

resource "aws_ssm_service_setting" "throughput" {
  for_each      = var.high_parameter_throughput ? { "this" = "true" } : {}
  region        = var.region
  setting_id    = local.high_throughput
  setting_value = each.value
}
