# The grid's own key. Its policy leaves who may use it to the account's IAM policies, as the ones in policies.tf.

data "aws_iam_policy_document" "key" {
  statement {
    sid       = "ByIamPolicies"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.this.partition}:iam::${local.account}:root"]
    }
  }

  statement {
    sid       = "Alarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  statement {
    sid       = "Logs"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values = [for group in ["/htcgrid/${var.name}/*", "/aws/eks/htcgrid-${var.name}/*"] :
        "arn:${data.aws_partition.this.partition}:logs:${var.region}:${local.account}:log-group:${group}"
      ]
    }
  }
}

data "aws_partition" "this" {}

resource "aws_kms_key" "this" {
  for_each                = var.customer_key ? { "this" = true } : {}
  region                  = var.region
  description             = "Grid ${var.name}: table, queues, bucket and secret"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
  tags                    = local.tags
}

resource "aws_kms_alias" "this" {
  for_each      = aws_kms_key.this
  region        = var.region
  name          = "alias/htcgrid-${var.name}"
  target_key_id = each.value.key_id
}
