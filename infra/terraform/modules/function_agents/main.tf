# A pool without nodes: agents that are a Lambda function, which SQS's mappings invoke with the pool's messages.

module "function" {
  source          = "../function"
  name            = var.name
  region          = var.region
  grid            = var.grid
  package         = var.package
  runtime         = var.runtime
  architecture    = var.architecture
  title           = var.tenant == "default" ? "agent-${var.pool}" : "agent-${var.pool}-${var.tenant}"
  permissions     = "${path.module}/../../../../htcgrid_core/cloud/function_agent_permissions.json"
  pool            = var.pool
  memory_mb       = var.memory_mb
  timeout_seconds = var.timeout_seconds
  storage_mb      = var.storage_mb
  log_days        = var.log_days
  policy_arns     = var.handler_policy_arns
  tags            = var.tags

  environment = {
    HTCGRID_POOL        = var.pool
    HTCGRID_TENANT      = var.tenant
    HTCGRID_CACHE_BYTES = tostring(floor(var.storage_mb * 1048576 * 3 / 4)) # the rest is for handlers
  }
}

resource "aws_lambda_event_source_mapping" "this" {
  for_each                = var.concurrency
  region                  = var.region
  function_name           = module.function.arn
  event_source_arn        = var.grid.queue_arns[var.pool][each.key]
  batch_size              = 1 # a message is a bundle, which may take all of an invocation's time
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = merge(var.tags, { "htcgrid:grid" = var.name })

  scaling_config {
    maximum_concurrency = each.value
  }

  lifecycle {
    precondition {
      condition     = var.grid.visibility_seconds >= 6 * var.timeout_seconds
      error_message = "The queues' visibility timeout (data_plane's visibility_seconds) is at least six times the function's timeout."
    }
  }
}
