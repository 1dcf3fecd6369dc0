output "function_arns" {
  description = "The functions: who may invoke submit_tasks submits for the tenant."
  value       = { for key, function in module.function : key => function.arn }
}

output "functions" {
  description = "The functions and where they log, as observability takes them."
  value = { for key, function in module.function : key => {
    function_name  = function.function_name
    log_group_name = function.log_group_name
  } }
}

output "api_url" {
  description = "The HTTP API; null without one."
  value       = one([for api in aws_apigatewayv2_api.this : api.api_endpoint])
}

output "rest_api_url" {
  description = "The REST API: connect() of any client takes it; null without one."
  value       = one([for api in aws_apigatewayv2_api.rest : api.api_endpoint])
}

output "rest_function_url" {
  description = "The same function by its own URL; null without one."
  value       = one([for url in aws_lambda_function_url.rest : url.function_url])
}

output "rest_caller_policy_arn" {
  description = "Attach it to callers of the REST API by IAM; null without any."
  value       = one([for policy in aws_iam_policy.rest_caller : policy.arn])
}

output "api_keys_parameter" {
  description = "Name of the SSM parameter that holds the keys of the REST API; null without any."
  value       = one([for parameter in aws_ssm_parameter.api_keys : parameter.name])
}

output "submit_queue_url" {
  description = "The queue of sessions to submit; null without one."
  value       = one([for queue in aws_sqs_queue.submit : queue.id])
}

output "failed_queue_names" {
  description = "Queues of what was to be submitted and was not, as observability takes them."
  value = merge(
    { events = aws_sqs_queue.failed.name },
    { for queue in aws_sqs_queue.refused : "messages" => queue.name },
  )
}

# Put together from names: data_plane, whose outputs the functions need, is given these.
output "destinations" {
  description = "What is made here that sessions' ends can be told: for data_plane's variable of the same name."
  value = {
    topics         = var.events ? ["${local.arn_of}:sns:${local.place}:htcgrid-${var.name}-ends"] : []
    buses          = var.events ? ["${local.arn_of}:events:${local.place}:event-bus/htcgrid-${var.name}"] : []
    step_functions = var.step_functions_example != null
  }
}
