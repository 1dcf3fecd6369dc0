# Who may do what, by component: tests record what each calls on an emulator, and grant that and nothing else.

locals {
  arns = {
    table   = aws_dynamodb_table.this.arn
    indexes = [for index in keys(local.indexes) : "${aws_dynamodb_table.this.arn}/index/${index}"]
    bucket  = aws_s3_bucket.this.arn
    objects = "${aws_s3_bucket.this.arn}/*"
    queues  = [for queue in aws_sqs_queue.this : queue.arn]
    dead    = [for queue in aws_sqs_queue.dead : queue.arn]
    secrets = [aws_ssm_parameter.this.arn, aws_ssm_parameter.key.arn]
  }

  read = [
    { sid = "Grid", actions = ["ssm:GetParameter"], resources = local.arns.secrets },
    { sid = "ReadTable", actions = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"], resources = [local.arns.table] },
    { sid = "ReadObjects", actions = ["s3:GetObject"], resources = [local.arns.objects] },
    # Without it S3 answers 403 for an object that is merely missing.
    { sid = "Bucket", actions = ["s3:ListBucket"], resources = [local.arns.bucket] },
  ]

  grants = {
    agent = concat(local.read, [
      { sid = "Indexes", actions = ["dynamodb:Query"], resources = local.arns.indexes },
      {
        sid = "WriteTable"
        actions = [
          "dynamodb:BatchWriteItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:PutItem",
          "dynamodb:UpdateItem",
        ]
        resources = [local.arns.table]
      },
      { sid = "WriteObjects", actions = ["s3:DeleteObject", "s3:PutObject"], resources = [local.arns.objects] },
      {
        sid       = "Work"
        actions   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:SendMessage"]
        resources = local.arns.queues
      },
      {
        sid       = "DeadLetters"
        actions   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
        resources = local.arns.dead
      },
    ])

    submitter = concat(local.read, [
      { sid = "Indexes", actions = ["dynamodb:Query"], resources = local.arns.indexes },
      {
        sid       = "WriteTable"
        actions   = ["dynamodb:BatchWriteItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
        resources = [local.arns.table]
      },
      { sid = "WriteObjects", actions = ["s3:DeleteObject", "s3:PutObject"], resources = [local.arns.objects] },
      { sid = "Announce", actions = ["sqs:SendMessage"], resources = local.arns.queues },
    ])

    # Who looks after the grid: `htcgrid doctor` and `htcgrid dlq`.
    operator = concat(local.read, [
      { sid = "Table", actions = ["dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive"], resources = [local.arns.table] },
      { sid = "Indexes", actions = ["dynamodb:Query"], resources = local.arns.indexes },
      {
        sid       = "BucketSettings"
        actions   = ["s3:GetBucketPublicAccessBlock", "s3:GetBucketVersioning", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration"]
        resources = [local.arns.bucket]
      },
      { sid = "Queues", actions = ["sqs:GetQueueAttributes", "sqs:SendMessage"], resources = local.arns.queues },
      {
        sid       = "DeadLetters"
        actions   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
        resources = local.arns.dead
      },
    ])
  }

  # By services on behalf of whoever calls them, and never directly.
  key_users = {
    agent     = ["kms:Decrypt", "kms:GenerateDataKey"]
    submitter = ["kms:Decrypt", "kms:GenerateDataKey"]
    operator  = ["kms:Decrypt", "kms:GenerateDataKey"]
  }
  key_services = ["dynamodb", "s3", "sqs", "ssm"]
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
