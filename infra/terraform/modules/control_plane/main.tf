# The grid's own functions: the reconciler and the scaler's numbers by schedule, and submitting, cancelling and reading
# for whoever invokes them; and the REST API, if it is asked for.

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

locals {
  tags   = merge(var.tags, { "htcgrid:grid" = var.name })
  pages  = "${path.module}/../../../../htcgrid_core/lambdas"
  place  = "${var.region}:${data.aws_caller_identity.this.account_id}"
  arn_of = "arn:${data.aws_partition.this.partition}"

  functions = merge(local.always, var.rules == null ? {} : local.by_rules, var.rest_api == null ? {} : local.over_http)
  over_http = { rest_api = { memory_mb = 1024, timeout_seconds = 300, environment = local.rest_environment } }
  by_rules  = { submit_on_event = { memory_mb = 1024, timeout_seconds = var.submit_timeout_seconds, environment = {} } }
  always = {
    cancel_tasks    = { memory_mb = 512, timeout_seconds = 29, environment = { HTCGRID_TENANT = var.tenant } }
    get_results     = { memory_mb = 1024, timeout_seconds = var.results_timeout_seconds, environment = { HTCGRID_TENANT = var.tenant } }
    scaling_metrics = { memory_mb = 256, timeout_seconds = 45, environment = {} }
    submit_tasks    = { memory_mb = 1024, timeout_seconds = var.submit_timeout_seconds, environment = { HTCGRID_TENANT = var.tenant } }
    ttl_checker     = { memory_mb = 256, timeout_seconds = 75, environment = {} }
  }
}

locals {
  mapped_queues = {
    submit_tasks    = { for key, queue in aws_sqs_queue.submit : key => queue.arn }
    submit_on_event = try(var.rules.queue_arns, {})
  }
}

module "function" {
  for_each           = local.functions
  source             = "../function"
  name               = var.name
  region             = var.region
  grid               = var.grid
  package            = var.package
  runtime            = var.runtime
  architecture       = var.architecture
  title              = replace(each.key, "_", "-")
  permissions        = "${local.pages}/${each.key}.json"
  environment        = each.value.environment
  memory_mb          = each.value.memory_mb
  timeout_seconds    = each.value.timeout_seconds
  places             = var.places
  mapped_queue_arns  = lookup(local.mapped_queues, each.key, {})
  mapped_stream_arns = each.key == "submit_on_event" ? var.rules.stream_arns : {}
  failed_queue_arns  = contains(local.submitting, each.key) ? [aws_sqs_queue.failed.arn] : []
  log_days           = var.log_days
  tags               = var.tags
}
