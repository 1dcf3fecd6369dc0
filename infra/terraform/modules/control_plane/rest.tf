# The REST API as one function behind an HTTP API of its own: every path is the function's, and every request says who
# asks. By IAM and by tokens the gateway refuses whoever does not; the function then judges scopes and tenants.

locals {
  rest      = var.rest_api == null ? {} : { "this" = var.rest_api }
  rest_iam  = { for key, api in local.rest : key => api if api.authorization == "IAM" }
  rest_jwt  = { for key, api in local.rest : key => api if api.authorization == "JWT" }
  rest_keys = { for key, api in local.rest : key => api if api.authorization == "KEYS" }
  own_keys  = { for key, api in local.rest_keys : key => api if api.keys_secret_arn == null } # else they are in a secret
  rest_urls = { for key, api in local.rest_iam : key => api if api.function_url }

  rest_environment = merge(
    { for api in values(local.rest_iam) : "HTCGRID_API_CALLERS" => jsonencode(api.callers) },
    { for key, api in local.rest_keys : "HTCGRID_API_KEYS" => api.keys_secret_arn == null ? aws_ssm_parameter.api_keys[key].name : api.keys_secret_arn },
    merge([for api in values(local.rest_jwt) : {
      HTCGRID_JWT_ISSUER    = api.issuer
      HTCGRID_JWT_AUDIENCES = join(" ", api.audiences)
      HTCGRID_JWT_CLIENTS   = join(" ", api.clients)
    }]...),
  )
}

# The text of a file of htcgrid api-keys. The operator puts it there: it is in no state, and stays when this is applied.
resource "aws_ssm_parameter" "api_keys" {
  for_each         = local.own_keys
  region           = var.region
  name             = "/htcgrid/${var.name}/api-keys"
  description      = "Who may ask the REST API of grid ${var.name}, and what for"
  type             = "SecureString"
  key_id           = var.grid.key_arn
  value_wo         = jsonencode({ keys = [] })
  value_wo_version = 1
  tags             = local.tags
}

resource "aws_apigatewayv2_api" "rest" {
  for_each      = local.rest
  region        = var.region
  name          = "htcgrid-${var.name}-rest"
  description   = "Grid ${var.name}: the REST API"
  protocol_type = "HTTP"
  tags          = local.tags
}

resource "aws_apigatewayv2_authorizer" "rest" {
  for_each         = local.rest_jwt
  region           = var.region
  api_id           = aws_apigatewayv2_api.rest[each.key].id
  name             = "tokens"
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]

  jwt_configuration {
    issuer   = each.value.issuer
    audience = setunion(each.value.audiences, each.value.clients)
  }
}

resource "aws_apigatewayv2_integration" "rest" {
  for_each               = local.rest
  region                 = var.region
  api_id                 = aws_apigatewayv2_api.rest[each.key].id
  integration_type       = "AWS_PROXY"
  integration_uri        = module.function["rest_api"].invoke_arn
  payload_format_version = "2.0"
  timeout_milliseconds   = 30000 # API Gateway's longest: the function holds no request for longer than 20 seconds
}

resource "aws_apigatewayv2_route" "rest" {
  for_each           = local.rest
  region             = var.region
  api_id             = aws_apigatewayv2_api.rest[each.key].id
  route_key          = "$default"
  target             = "integrations/${aws_apigatewayv2_integration.rest[each.key].id}"
  authorization_type = { IAM = "AWS_IAM", JWT = "JWT", KEYS = "NONE" }[each.value.authorization]
  authorizer_id      = one([for authorizer in aws_apigatewayv2_authorizer.rest : authorizer.id])
}

resource "aws_cloudwatch_log_group" "rest" {
  for_each          = local.rest
  region            = var.region
  name              = "/htcgrid/${var.name}/rest"
  retention_in_days = var.log_days
  kms_key_id        = var.grid.key_arn
  tags              = local.tags
}

resource "aws_apigatewayv2_stage" "rest" {
  for_each    = local.rest
  region      = var.region
  api_id      = aws_apigatewayv2_api.rest[each.key].id
  name        = "$default" # a stage with a name would be in every path
  auto_deploy = true
  tags        = local.tags

  default_route_settings {
    throttling_rate_limit  = each.value.requests_per_second
    throttling_burst_limit = each.value.burst
  }

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.rest[each.key].arn
    format = jsonencode({
      time    = "$context.requestTimeEpoch", method = "$context.httpMethod", path = "$context.path", status = "$context.status"
      caller  = "$context.identity.userArn", subject = "$context.authorizer.claims.sub"
      request = "$context.requestId", error = "$context.integrationErrorMessage"
    })
  }
}

# Nobody else may invoke the function: it believes what its events say of who asks.
resource "aws_lambda_permission" "rest" {
  for_each      = local.rest
  region        = var.region
  statement_id  = "rest"
  action        = "lambda:InvokeFunction"
  function_name = module.function["rest_api"].function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.rest[each.key].execution_arn}/*/*"
}

resource "aws_lambda_function_url" "rest" {
  for_each           = local.rest_urls
  region             = var.region
  function_name      = module.function["rest_api"].function_name
  authorization_type = "AWS_IAM"
}

data "aws_iam_policy_document" "rest_caller" {
  for_each = local.rest_iam
  statement {
    sid       = "Gateway"
    actions   = ["execute-api:Invoke"]
    resources = ["${aws_apigatewayv2_api.rest[each.key].execution_arn}/*"]
  }

  dynamic "statement" {
    for_each = aws_lambda_function_url.rest
    content {
      sid       = "Url"
      actions   = ["lambda:InvokeFunctionUrl"]
      resources = [module.function["rest_api"].arn]
    }
  }

  # AWS asks for this too; without the condition it would be the right to say that one is anybody.
  dynamic "statement" {
    for_each = aws_lambda_function_url.rest
    content {
      sid       = "ThroughItsUrl"
      actions   = ["lambda:InvokeFunction"]
      resources = [module.function["rest_api"].arn]
      condition {
        test     = "Bool"
        variable = "lambda:InvokedViaFunctionUrl"
        values   = ["true"]
      }
    }
  }
}

resource "aws_iam_policy" "rest_caller" {
  for_each    = local.rest_iam
  name        = "htcgrid-${var.name}-${var.region}-rest-caller"
  description = "Asking the REST API of grid ${var.name} in ${var.region}; what for, its variable callers says"
  policy      = data.aws_iam_policy_document.rest_caller[each.key].json
  tags        = local.tags
}
