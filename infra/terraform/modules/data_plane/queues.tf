# Four queues a pool: one for each priority, and one for what was received again and again.

locals {
  retention_seconds = 1209600 # SQS's longest
  max_receives      = 100     # an agent that looks and has no room hands a message back, which counts
  long_poll_seconds = 20
  data_key_seconds  = 3600 # for which SQS uses one data key, or each poll would be a call of KMS
}

resource "aws_sqs_queue" "dead" {
  for_each                          = var.pools
  region                            = var.region
  name                              = "htcgrid_${var.name}_${each.key}_dead"
  message_retention_seconds         = local.retention_seconds
  sqs_managed_sse_enabled           = var.customer_key ? null : true
  kms_master_key_id                 = local.key_arn
  kms_data_key_reuse_period_seconds = var.customer_key ? local.data_key_seconds : null
  tags                              = local.tags
}

resource "aws_sqs_queue" "this" {
  for_each                          = local.queues
  region                            = var.region
  name                              = "htcgrid_${var.name}_${each.key}"
  message_retention_seconds         = local.retention_seconds
  visibility_timeout_seconds        = var.visibility_seconds
  receive_wait_time_seconds         = local.long_poll_seconds
  sqs_managed_sse_enabled           = var.customer_key ? null : true
  kms_master_key_id                 = local.key_arn
  kms_data_key_reuse_period_seconds = var.customer_key ? local.data_key_seconds : null
  tags                              = local.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead[each.value.pool].arn
    maxReceiveCount     = local.max_receives
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  for_each  = var.pools
  region    = var.region
  queue_url = aws_sqs_queue.dead[each.key].id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [for priority in local.priorities : aws_sqs_queue.this["${each.key}_${priority}"].arn]
  })
}

data "aws_iam_policy_document" "queue" {
  for_each = merge({ for key, queue in aws_sqs_queue.this : key => queue.arn }, { for pool, queue in aws_sqs_queue.dead : "${pool}_dead" => queue.arn })
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [each.value]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "this" {
  for_each  = merge({ for key, queue in aws_sqs_queue.this : key => queue.id }, { for pool, queue in aws_sqs_queue.dead : "${pool}_dead" => queue.id })
  region    = var.region
  queue_url = each.value
  policy    = data.aws_iam_policy_document.queue[each.key].json
}
