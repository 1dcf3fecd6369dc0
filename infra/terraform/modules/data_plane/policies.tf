# Who may do what, by component: tests record what each calls on an emulator, and grant that and nothing else.

locals {
  arns = {
    table   = aws_dynamodb_table.this.arn
    bucket  = aws_s3_bucket.this.arn
    objects = "${aws_s3_bucket.this.arn}/*"
    queues  = [for queue in aws_sqs_queue.this : queue.arn]
    dead    = [for queue in aws_sqs_queue.dead : queue.arn]
    secrets = [aws_ssm_parameter.this.arn, aws_ssm_parameter.key.arn]
  }

  found_by = { sid = "Grid", actions = ["ssm:GetParameter"], resources = local.arns.secrets }
  # Keys of later rotations lie below the first.
  keys = { sid = "Keys", actions = ["ssm:GetParametersByPath"], resources = [aws_ssm_parameter.key.arn] }
  # Without it S3 answers 403 for an object that is merely missing.
  list = { sid = "Bucket", actions = ["s3:ListBucket"], resources = [local.arns.bucket] }

  # Entries of the audit are put, with what they tell of, and changed or deleted by nobody: DynamoDB's TTL does that.
  audit = {
    sid       = "AuditIsKept"
    actions   = ["dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:UpdateItem"]
    resources = [local.arns.table]
  }

  # Whoever ends a session tells of it; of a session that has ended by then, whoever submitted it.
  tell = [for each in [
    { sid = "Tasks", actions = ["states:SendTaskFailure", "states:SendTaskHeartbeat", "states:SendTaskSuccess"], resources = var.destinations.step_functions ? ["*"] : [] },
    { sid = "Queues", actions = ["sqs:GetQueueUrl", "sqs:SendMessage"], resources = var.destinations.queues },
    { sid = "Topics", actions = ["sns:Publish"], resources = var.destinations.topics },
    { sid = "Buses", actions = ["events:PutEvents"], resources = var.destinations.buses },
  ] : each if length(each.resources) > 0]

  grants = {
    agent = concat(local.tell, [
      local.found_by,
      local.keys,
      local.list,
      {
        sid = "Table"
        actions = [
          "dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:GetItem",
          "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
        ]
        resources = [local.arns.table]
      },
      {
        sid       = "Indexes"
        actions   = ["dynamodb:Query"]
        resources = [for index in ["sessions-ended", "sessions-live"] : "${local.arns.table}/index/${index}"]
      },
      {
        sid       = "Objects"
        actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        resources = [local.arns.objects]
      },
      {
        sid = "Work"
        actions = [
          "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage",
          "sqs:SendMessage",
        ]
        resources = local.arns.queues
      },
      {
        sid       = "DeadLetters"
        actions   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
        resources = local.arns.dead
      },
    ])

    submitter = concat(local.tell, [
      local.found_by,
      local.keys,
      local.list,
      {
        sid = "Table"
        actions = [
          "dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:PutItem",
          "dynamodb:Query", "dynamodb:UpdateItem",
        ]
        resources = [local.arns.table]
      },
      {
        sid       = "Indexes"
        actions   = ["dynamodb:Query"]
        resources = [for index in ["sessions-by-end", "sessions-by-time", "sessions-live"] : "${local.arns.table}/index/${index}"]
      },
      {
        sid       = "Objects"
        actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
        resources = [local.arns.objects]
      },
      { sid = "Announce", actions = ["sqs:SendMessage"], resources = local.arns.queues },
    ])

    # Who looks after the grid: `htcgrid doctor`, `htcgrid dlq`, `htcgrid destinations`, `htcgrid load`,
    # `htcgrid fleet`, `htcgrid audit`, `htcgrid costs` and `htcgrid data`, which deletes what sessions keep, or holds it.
    operator = [
      local.found_by,
      local.keys,
      {
        sid = "Table"
        actions = [
          "dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive",
          "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
        ]
        resources = [local.arns.table]
      },
      {
        sid       = "Load"
        actions   = ["dynamodb:Query"]
        resources = [for index in ["sessions-by-time", "sessions-live"] : "${local.arns.table}/index/${index}"]
      },
      {
        sid = "Bucket"
        actions = [
          "s3:GetBucketPublicAccessBlock", "s3:GetBucketVersioning", "s3:GetEncryptionConfiguration",
          "s3:GetLifecycleConfiguration", "s3:ListBucket",
        ]
        resources = [local.arns.bucket]
      },
      { sid = "Sessions", actions = ["s3:DeleteObject"], resources = ["${aws_s3_bucket.this.arn}/sessions/*"] },
      { sid = "Queues", actions = ["sqs:GetQueueAttributes", "sqs:SendMessage"], resources = local.arns.queues },
      {
        sid       = "DeadLetters"
        actions   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
        resources = local.arns.dead
      },
      { sid = "Throughput", actions = ["ssm:GetServiceSetting"], resources = [local.high_throughput] },
      { sid = "Quotas", actions = ["servicequotas:GetServiceQuota"], resources = ["*"] }, # IAM knows no others for it
    ]
  }

  # By services on behalf of whoever calls them, and never directly.
  key_users = {
    agent     = ["kms:Decrypt", "kms:GenerateDataKey"]
    submitter = ["kms:Decrypt", "kms:GenerateDataKey"]
    operator  = ["kms:Decrypt", "kms:GenerateDataKey"]
  }
  key_services = concat(["dynamodb", "s3", "sqs", "ssm"], length(var.destinations.topics) > 0 ? ["sns"] : [])
}

data "aws_iam_policy_document" "component" {
  for_each = local.grants

  dynamic "statement" {
    for_each = each.value
    content {
      sid       = statement.value.sid
      actions   = statement.value.actions
      resources = statement.value.resources
    }
  }

  statement {
    sid       = local.audit.sid
    effect    = "Deny"
    actions   = local.audit.actions
    resources = local.audit.resources
    condition {
      test     = "ForAnyValue:StringLike"
      variable = "dynamodb:LeadingKeys"
      values   = ["A#*"]
    }
  }

  dynamic "statement" {
    for_each = var.customer_key ? [local.key_users[each.key]] : []
    content {
      sid       = "Key"
      actions   = statement.value
      resources = [local.key_arn]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = [for service in local.key_services : "${service}.${var.region}.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_policy" "component" {
  for_each    = local.grants
  name        = "htcgrid-${var.name}-${var.region}-${each.key}"
  description = "What the ${each.key} of grid ${var.name} in ${var.region} may do"
  policy      = data.aws_iam_policy_document.component[each.key].json
  tags        = local.tags
}
