# A tick that failed is not tried again (failures.tf): a minute later comes the next.

locals {
  schedules = merge(
    {
      scaling_metrics = {}
      ttl_checker     = { seconds = var.reconcile_seconds }
    },
    { for api in values(local.rest) : "rest_api" => {} }, # uploads whose client went before they were submitted
  )
}

data "aws_iam_policy_document" "scheduler_trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.this.account_id]
    }
  }
}

resource "aws_iam_role" "scheduler" {
  name               = "htcgrid-${var.name}-${var.region}-scheduler"
  description        = "Schedules of grid ${var.name} in ${var.region}"
  assume_role_policy = data.aws_iam_policy_document.scheduler_trust.json
  tags               = local.tags
}

data "aws_iam_policy_document" "scheduler" {
  statement {
    sid       = "Invoke"
    actions   = ["lambda:InvokeFunction"]
    resources = [for key in keys(local.schedules) : module.function[key].arn]
  }
}

resource "aws_iam_role_policy" "scheduler" {
  name   = "invoke"
  role   = aws_iam_role.scheduler.name
  policy = data.aws_iam_policy_document.scheduler.json
}

resource "aws_scheduler_schedule_group" "this" {
  region = var.region
  name   = "htcgrid-${var.name}"
  tags   = local.tags
}

resource "aws_scheduler_schedule" "this" {
  for_each            = local.schedules
  region              = var.region
  group_name          = aws_scheduler_schedule_group.this.name
  name                = "htcgrid-${var.name}-${replace(each.key, "_", "-")}"
  description         = "Grid ${var.name}: ${each.key} once a minute"
  schedule_expression = "rate(1 minute)"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = module.function[each.key].arn
    role_arn = aws_iam_role.scheduler.arn
    input    = jsonencode(each.value)

    retry_policy {
      maximum_retry_attempts = 0
    }
  }
}
