# What happens elsewhere becomes sessions, as rules say that the operator has registered with the grid.

locals {
  patterns = var.rules == null ? {} : var.rules.patterns
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each      = local.patterns
  region        = var.region
  name          = "htcgrid-${var.name}-${each.key}"
  description   = "Grid ${var.name}: events that rules make sessions of"
  event_pattern = each.value
  tags          = local.tags
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = aws_cloudwatch_event_rule.this
  region   = var.region
  rule     = each.value.name
  arn      = module.function["submit_on_event"].arn

  # An event that comes again is the same session.
  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.failed.arn
  }
}

resource "aws_lambda_permission" "rule" {
  for_each      = aws_cloudwatch_event_rule.this
  region        = var.region
  statement_id  = "rule-${each.key}"
  action        = "lambda:InvokeFunction"
  function_name = module.function["submit_on_event"].function_name
  principal     = "events.amazonaws.com"
  source_arn    = each.value.arn
}

resource "aws_lambda_event_source_mapping" "rule_queue" {
  for_each                = try(var.rules.queue_arns, {})
  region                  = var.region
  function_name           = module.function["submit_on_event"].arn
  event_source_arn        = each.value
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = local.tags

  scaling_config {
    maximum_concurrency = 10
  }
}

resource "aws_lambda_event_source_mapping" "rule_stream" {
  for_each                           = try(var.rules.stream_arns, {})
  region                             = var.region
  function_name                      = module.function["submit_on_event"].arn
  event_source_arn                   = each.value
  starting_position                  = "LATEST"
  bisect_batch_on_function_error     = false # a session is one of a range of records, and stays the same
  maximum_retry_attempts             = 10
  maximum_batching_window_in_seconds = 1
  tags                               = local.tags

  # What is told there is which records they were, which the stream keeps for as long as it does.
  destination_config {
    on_failure {
      destination_arn = aws_sqs_queue.failed.arn
    }
  }
}
