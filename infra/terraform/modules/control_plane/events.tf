# Out: where sessions' ends can be told. In: a queue of sessions to submit.

resource "aws_sns_topic" "ends" {
  for_each          = var.events ? { "this" = true } : {}
  region            = var.region
  name              = "htcgrid-${var.name}-ends"
  kms_master_key_id = var.key_arn
  tags              = local.tags
}

resource "aws_cloudwatch_event_bus" "this" {
  for_each = var.events ? { "this" = true } : {}
  region   = var.region
  name     = "htcgrid-${var.name}"
  tags     = local.tags
}

resource "aws_sqs_queue" "refused" {
  for_each                  = var.submit_queue ? { "this" = true } : {}
  region                    = var.region
  name                      = "htcgrid_${var.name}_submit_refused"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
  tags                      = local.tags
}

resource "aws_sqs_queue" "submit" {
  for_each                   = aws_sqs_queue.refused
  region                     = var.region
  name                       = "htcgrid_${var.name}_submit"
  message_retention_seconds  = 1209600
  visibility_timeout_seconds = 6 * local.functions.submit_tasks.timeout_seconds
  sqs_managed_sse_enabled    = true
  tags                       = local.tags

  redrive_policy = jsonencode({ deadLetterTargetArn = each.value.arn, maxReceiveCount = 5 })
}

resource "aws_sqs_queue_redrive_allow_policy" "refused" {
  for_each  = aws_sqs_queue.refused
  region    = var.region
  queue_url = each.value.id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.submit[each.key].arn]
  })
}

resource "aws_lambda_event_source_mapping" "submit" {
  for_each                = aws_sqs_queue.submit
  region                  = var.region
  function_name           = module.function["submit_tasks"].arn
  event_source_arn        = each.value.arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = local.tags

  scaling_config {
    maximum_concurrency = 10
  }
}
