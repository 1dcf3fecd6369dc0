# What tells somebody. docs/runbook.md has a section for each alarm, by its name.

data "aws_caller_identity" "this" {}

locals {
  tags   = merge(var.tags, { "htcgrid:grid" = var.name })
  queues = { for pair in flatten([for pool, by in var.queue_names : [for priority, name in by : { pool = pool, priority = priority, name = name }]]) : "${pair.pool}-${pair.priority}" => pair }
  dead   = { for key, queue in local.queues : key => queue if queue.priority == "dead" }
  work   = { for key, queue in local.queues : key => queue if queue.priority != "dead" }

  # Names begin with what the runbook calls them.
  alarms = merge(
    { for key, queue in local.dead : "dead-letters-${queue.pool}" => {
      description = "Bundles of pool ${queue.pool} were received again and again, and nobody finished with them"
      namespace   = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = queue.name }
      statistic   = "Maximum", threshold = 0, minutes = 5
    } },
    { for key, name in var.failed_queue_names : "submissions-failed-${key}" => {
      description = "Something was to become a session, was tried again and again, and did not: it is kept in ${name}"
      namespace   = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = name }
      statistic   = "Maximum", threshold = 0, minutes = 5
    } },
    { for key, queue in local.work : "oldest-message-${key}" => {
      description = "Something has waited in pool ${queue.pool} (${queue.priority}) for ${var.oldest_message_seconds} s"
      namespace   = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", dimensions = { QueueName = queue.name }
      statistic   = "Maximum", threshold = var.oldest_message_seconds, minutes = 15
    } },
    { for key, queue in local.work : "in-flight-${key}" => {
      description = "Half of the messages that SQS lets be in flight: at 120,000 polls find nothing, and say nothing"
      namespace   = "AWS/SQS", metric = "ApproximateNumberOfMessagesNotVisible", dimensions = { QueueName = queue.name }
      statistic   = "Maximum", threshold = 60000, minutes = 5
    } },
    { for kind in ["Read", "Write"] : "table-throttled-${lower(kind)}s" => {
      description = "DynamoDB refuses ${lower(kind)}s: a cap, a partition or the table's own limit is reached"
      namespace   = "AWS/DynamoDB", metric = "${kind}ThrottleEvents", dimensions = { TableName = var.table_name }
      statistic   = "Sum", threshold = 100, minutes = 5
    } },
    { for key, function in var.functions : "function-errors-${replace(key, "_", "-")}" => {
      description = "Function ${function.function_name} ends with errors, or is killed"
      namespace   = "AWS/Lambda", metric = "Errors", dimensions = { FunctionName = function.function_name }
      statistic   = "Sum", threshold = 0, minutes = 10
    } },
    { for key, function in var.functions : "messages-refused-${replace(key, "_", "-")}" => {
      description = "Whoever was to be told of a session's end did not take it, and is not told again"
      namespace   = "HTCGrid/${var.name}", metric = "MessagesRefused-${key}", dimensions = {}
      statistic   = "Sum", threshold = 0, minutes = 1
    } },
  )
}

# Functions have no page of metrics: what they say of the outbox is counted in their logs.
resource "aws_cloudwatch_log_metric_filter" "refused" {
  for_each       = var.functions
  region         = var.region
  name           = "htcgrid-${var.name}-messages-refused-${replace(each.key, "_", "-")}"
  log_group_name = each.value.log_group_name
  pattern        = "{ $.event = \"a recipient is settled: REFUSED\" }"

  metric_transformation {
    namespace = "HTCGrid/${var.name}"
    name      = "MessagesRefused-${each.key}"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "reconciler" {
  for_each            = var.reconciler == null ? {} : { "this" = var.reconciler }
  region              = var.region
  alarm_name          = "htcgrid-${var.name}-reconciler-silent"
  alarm_description   = "Nobody has looked after the grid for ten minutes: nothing expires, nothing lost is found, nobody is told"
  namespace           = "AWS/Lambda"
  metric_name         = "Invocations"
  dimensions          = { FunctionName = each.value }
  statistic           = "Sum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 10
  datapoints_to_alarm = 10
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = local.tags
}

resource "aws_sns_topic" "alarms" {
  region            = var.region
  name              = "htcgrid-${var.name}-alarms"
  kms_master_key_id = var.key_arn
  tags              = local.tags
}

data "aws_iam_policy_document" "topic" {
  statement {
    sid       = "Alarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]
    principals {
      type        = "Service"
      identifiers = ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.this.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  region = var.region
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.topic.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each  = var.emails
  region    = var.region
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  region              = var.region
  alarm_name          = "htcgrid-${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = each.value.minutes
  datapoints_to_alarm = each.value.minutes
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = local.tags
}

resource "aws_cloudwatch_dashboard" "this" {
  region         = var.region
  dashboard_name = "htcgrid-${var.name}"
  dashboard_body = jsonencode({
    widgets = concat(
      [for number, pool in sort(keys(var.queue_names)) : {
        type = "metric", x = 0, y = number * 6, width = 12, height = 6
        properties = {
          title = "Pool ${pool}: messages", region = var.region, view = "timeSeries", stat = "Maximum", period = 60
          metrics = concat([for priority, name in var.queue_names[pool] : [
            ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", name, { label = "${priority} waiting" }],
            ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", name, { label = "${priority} in flight" }],
          ]]...)
        }
      }],
      [for number, unit in ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"] : {
        type = "metric", x = 12, y = number * 6, width = 12, height = 6
        properties = {
          title   = "Table: ${unit}", region = var.region, view = "timeSeries", stat = "Sum", period = 60
          metrics = [["AWS/DynamoDB", unit, "TableName", var.table_name]]
        }
      }],
    )
  })
}

resource "aws_budgets_budget" "this" {
  for_each     = var.monthly_budget == null ? {} : { "this" = var.monthly_budget }
  name         = "htcgrid-${var.name}-${var.region}"
  budget_type  = "COST"
  limit_amount = tostring(each.value)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"
  tags         = local.tags

  cost_filter {
    name   = "TagKeyValue"
    values = ["user:htcgrid:grid$${var.name}"]
  }

  dynamic "notification" {
    for_each = [80, 100]
    content {
      comparison_operator       = "GREATER_THAN"
      notification_type         = "ACTUAL"
      threshold                 = notification.value
      threshold_type            = "PERCENTAGE"
      subscriber_sns_topic_arns = [aws_sns_topic.alarms.arn]
    }
  }
}
