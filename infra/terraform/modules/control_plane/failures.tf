# What becomes of an invocation that nobody waits for, and that failed. Lambda tries it twice more, then forgets it.

locals {
  # A session that is not submitted is somebody's loss: what asked for it is kept.
  submitting = [for key in ["submit_on_event", "submit_tasks"] : key if contains(keys(local.functions), key)]
}

resource "aws_sqs_queue" "failed" {
  region                    = var.region
  name                      = "htcgrid_${var.name}_submit_failed"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
  tags                      = local.tags
}

data "aws_iam_policy_document" "failed" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.failed.arn]
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

  # Of events that EventBridge could not even give to the function.
  dynamic "statement" {
    for_each = length(local.patterns) == 0 ? [] : [true]
    content {
      sid       = "Rules"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.failed.arn]
      principals {
        type        = "Service"
        identifiers = ["events.amazonaws.com"]
      }
      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = [for rule in aws_cloudwatch_event_rule.this : rule.arn]
      }
    }
  }
}

resource "aws_sqs_queue_policy" "failed" {
  region    = var.region
  queue_url = aws_sqs_queue.failed.id
  policy    = data.aws_iam_policy_document.failed.json
}

resource "aws_lambda_function_event_invoke_config" "submitting" {
  for_each                     = toset(local.submitting)
  region                       = var.region
  function_name                = module.function[each.key].function_name
  maximum_event_age_in_seconds = 21600
  maximum_retry_attempts       = 2

  destination_config {
    on_failure {
      destination = aws_sqs_queue.failed.arn
    }
  }
}

# A schedule's tick is nobody's loss: the next one does what it would have done, and reconciler-silent and
# function-errors tell. Lambda's own two retries would only run beside it.
resource "aws_lambda_function_event_invoke_config" "ticks" {
  for_each                     = local.schedules
  region                       = var.region
  function_name                = module.function[each.key].function_name
  maximum_event_age_in_seconds = 60
  maximum_retry_attempts       = 0
}
