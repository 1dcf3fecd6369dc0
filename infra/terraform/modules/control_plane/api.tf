# An HTTP API whose routes are the functions; each asks who calls.

locals {
  apis = var.api == null ? {} : { "this" = var.api }
  jwt  = { for key, api in local.apis : key => api if api.issuer != null }
  routes = var.api == null ? {} : {
    "POST /sessions"                  = "submit_tasks"
    "GET /sessions/{session}/results" = "get_results"
    "DELETE /sessions/{session}"      = "cancel_tasks"
  }
  integrated = toset(values(local.routes))
}

resource "aws_apigatewayv2_api" "this" {
  for_each      = local.apis
  region        = var.region
  name          = "htcgrid-${var.name}"
  description   = "Grid ${var.name}: submit, read and cancel sessions of tenant ${var.tenant}"
  protocol_type = "HTTP"
  tags          = local.tags
}

resource "aws_apigatewayv2_authorizer" "this" {
  for_each         = local.jwt
  region           = var.region
  api_id           = aws_apigatewayv2_api.this[each.key].id
  name             = "tokens"
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]

  jwt_configuration {
    issuer   = each.value.issuer
    audience = each.value.audiences
  }
}

resource "aws_apigatewayv2_integration" "this" {
  for_each               = local.integrated
  region                 = var.region
  api_id                 = aws_apigatewayv2_api.this["this"].id
  integration_type       = "AWS_PROXY"
  integration_uri        = module.function[each.key].invoke_arn
  payload_format_version = "2.0"
  timeout_milliseconds   = 30000 # API Gateway's longest, however long the function may take
}

resource "aws_apigatewayv2_route" "this" {
  for_each           = local.routes
  region             = var.region
  api_id             = aws_apigatewayv2_api.this["this"].id
  route_key          = each.key
  target             = "integrations/${aws_apigatewayv2_integration.this[each.value].id}"
  authorization_type = length(local.jwt) > 0 ? "JWT" : "AWS_IAM"
  authorizer_id      = one([for authorizer in aws_apigatewayv2_authorizer.this : authorizer.id])
}

resource "aws_cloudwatch_log_group" "api" {
  for_each          = local.apis
  region            = var.region
  name              = "/htcgrid/${var.name}/api"
  retention_in_days = var.log_days
  kms_key_id        = var.grid.key_arn
  tags              = local.tags
}

resource "aws_apigatewayv2_stage" "this" {
  for_each    = local.apis
  region      = var.region
  api_id      = aws_apigatewayv2_api.this[each.key].id
  name        = "$default"
  auto_deploy = true
  tags        = local.tags

  default_route_settings {
    throttling_rate_limit  = each.value.requests_per_second
    throttling_burst_limit = each.value.burst
  }

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.api[each.key].arn
    format = jsonencode({
      time    = "$context.requestTimeEpoch", route = "$context.routeKey", status = "$context.status"
      caller  = "$context.identity.userArn", subject = "$context.authorizer.claims.sub"
      request = "$context.requestId", error = "$context.integrationErrorMessage"
    })
  }
}

resource "aws_lambda_permission" "api" {
  for_each      = local.integrated
  region        = var.region
  statement_id  = "api"
  action        = "lambda:InvokeFunction"
  function_name = module.function[each.key].function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.this["this"].execution_arn}/*/*"
}
