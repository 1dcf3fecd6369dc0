# One Lambda function of the grid: its log, its role, and a policy that is the page beside its code.

locals {
  tags       = merge(var.tags, { "htcgrid:grid" = var.name })
  title      = "htcgrid-${var.name}-${var.title}"
  page       = jsondecode(file(var.permissions))
  all_queues = flatten([for by in values(var.grid.queue_arns) : [for priority in ["high", "normal", "low"] : by[priority]]])
  own_queues = var.pool == null ? [] : [for priority in ["high", "normal", "low"] : var.grid.queue_arns[var.pool][priority]]

  # Where the keys of the REST API are: by the ARN of a secret, or by a parameter's name.
  api_keys            = lookup(var.environment, "HTCGRID_API_KEYS", "")
  api_keys_are_secret = startswith(local.api_keys, "arn:")

  # What the page calls the things of a grid.
  resources = {
    "parameter"                             = [var.grid.parameter_arn]
    "parameter/key"                         = [var.grid.secret_arn]
    "parameter/api-keys"                    = local.api_keys != "" && !local.api_keys_are_secret ? ["${var.grid.parameter_arn}/api-keys"] : []
    "secret of api keys"                    = local.api_keys_are_secret ? [local.api_keys] : []
    "bucket"                                = [var.grid.bucket_arn]
    "bucket/*"                              = ["${var.grid.bucket_arn}/*"]
    "table"                                 = [var.grid.table_arn]
    "queues of its pool"                    = local.own_queues
    "queues of all pools"                   = local.all_queues
    "dead letters"                          = [for by in values(var.grid.queue_arns) : by["dead"]]
    "queues that are mapped to it"          = values(var.mapped_queue_arns)
    "state machines that wait for sessions" = var.grid.destinations.step_functions ? ["*"] : [] # IAM knows no narrower place
    "destinations that are queues"          = var.grid.destinations.queues
    "destinations that are topics"          = var.grid.destinations.topics
    "destinations that are event buses"     = var.grid.destinations.buses
    "places for events"                     = var.places.events
    "buckets of places for events"          = distinct([for arn in var.places.events : split("/", arn)[0]])
    "places for results"                    = var.places.results
    "sources of rules"                      = var.places.sources
    "buckets of sources of rules"           = distinct([for arn in var.places.sources : split("/", arn)[0]])
    "streams that are mapped to it"         = values(var.mapped_stream_arns)
    "queue of what failed"                  = var.failed_queue_arns
    "its log group"                         = ["${aws_cloudwatch_log_group.this.arn}:*"]
    "table/index/sessions-by-end"           = ["${var.grid.table_arn}/index/sessions-by-end"]
    "table/index/sessions-by-time"          = ["${var.grid.table_arn}/index/sessions-by-time"]
    "table/index/sessions-ended"            = ["${var.grid.table_arn}/index/sessions-ended"]
    "table/index/sessions-live"             = ["${var.grid.table_arn}/index/sessions-live"]
  }
  # A topic, and a secret, may be encrypted with the grid's key.
  by_key = { "sns:Publish" = "sns", "secretsmanager:GetSecretValue" = "secretsmanager" }
  also_via = flatten([for each in local.statements : [
    for action in each.actions : local.by_key[action] if length(each.resources) > 0 && contains(keys(local.by_key), action)
  ]])

  statements = [for each in local.page.statements : {
    sid       = each.sid
    actions   = each.actions
    resources = flatten([for name in each.resources : tolist(local.resources[name])])
  }]
}

resource "aws_cloudwatch_log_group" "this" {
  region            = var.region
  name              = "/htcgrid/${var.name}/function/${var.title}"
  retention_in_days = var.log_days
  kms_key_id        = var.grid.key_arn
  tags              = local.tags
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  name               = "${local.title}-${var.region}"
  description        = "Function ${var.title} of grid ${var.name} in ${var.region}"
  assume_role_policy = data.aws_iam_policy_document.trust.json
  tags               = local.tags
}

data "aws_iam_policy_document" "this" {
  dynamic "statement" {
    for_each = [for each in local.statements : each if length(each.resources) > 0]
    content {
      sid       = statement.value.sid
      actions   = statement.value.actions
      resources = statement.value.resources
    }
  }

  dynamic "statement" {
    for_each = var.grid.key_arn == null ? [] : [local.page.key]
    content {
      sid       = "Key"
      actions   = statement.value.actions
      resources = [var.grid.key_arn]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = [for service in distinct(concat(statement.value.via, local.also_via)) : "${service}.${var.region}.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role_policy" "this" {
  name   = "grid"
  role   = aws_iam_role.this.name
  policy = data.aws_iam_policy_document.this.json
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each   = var.policy_arns
  role       = aws_iam_role.this.name
  policy_arn = each.value
}

resource "aws_lambda_function" "this" {
  region           = var.region
  function_name    = local.title
  description      = "Grid ${var.name}: ${var.title}"
  role             = aws_iam_role.this.arn
  runtime          = var.runtime
  architectures    = [var.architecture]
  handler          = local.page.function
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  memory_size      = var.memory_mb
  timeout          = var.timeout_seconds
  tags             = local.tags

  environment {
    variables = merge({ HTCGRID_URL = var.grid.url }, var.environment)
  }

  ephemeral_storage {
    size = var.storage_mb
  }

  logging_config {
    log_format = "Text" # it writes JSON itself
    log_group  = aws_cloudwatch_log_group.this.name
  }

  # A function that is there before it may do anything fails until then.
  depends_on = [aws_iam_role_policy.this]

  lifecycle {
    precondition {
      condition     = length(local.title) <= 64
      error_message = "AWS lets a function's name have 64 characters, and ${local.title} has more."
    }
    precondition {
      condition     = length(setsubtract(keys(var.environment), local.page.environment)) == 0
      error_message = "The page of its permissions does not name all of the function's environment variables."
    }
  }
}
