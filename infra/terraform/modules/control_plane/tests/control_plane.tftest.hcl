variables {
  name    = "book"
  region  = "eu-west-1"
  package = "versions.tf" # any file: nobody runs it
  grid = {
    url           = "aws://book?region=eu-west-1"
    parameter_arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/htcgrid/book"
    secret_arn    = "arn:aws:ssm:eu-west-1:123456789012:parameter/htcgrid/book/key"
    table_arn     = "arn:aws:dynamodb:eu-west-1:123456789012:table/htcgrid-book"
    bucket_arn    = "arn:aws:s3:::htcgrid-book"
    queue_arns = { default = {
      high   = "arn:aws:sqs:eu-west-1:123456789012:htcgrid_book_default_high"
      normal = "arn:aws:sqs:eu-west-1:123456789012:htcgrid_book_default_normal"
      low    = "arn:aws:sqs:eu-west-1:123456789012:htcgrid_book_default_low"
      dead   = "arn:aws:sqs:eu-west-1:123456789012:htcgrid_book_default_dead"
    } }
    visibility_seconds = 5400
    key_arn            = null
    destinations       = { queues = [], topics = [], buses = [], step_functions = false }
  }
}

run "by_itself" {
  command = apply
  assert {
    condition     = length(aws_scheduler_schedule.this) == 2 && aws_scheduler_schedule.this["ttl_checker"].target[0].retry_policy[0].maximum_retry_attempts == 0
    error_message = "A tick that failed is followed by the next, not by itself."
  }
  assert {
    condition     = length(aws_apigatewayv2_api.this) == 0 && length(aws_sqs_queue.submit) == 0 && length(aws_sfn_state_machine.example) == 0
    error_message = "What is not asked for is not made."
  }
  assert {
    condition     = output.destinations.topics[0] == aws_sns_topic.ends["this"].arn && output.destinations.buses[0] == aws_cloudwatch_event_bus.this["this"].arn
    error_message = "Agents would be allowed to tell others than these."
  }
  assert {
    condition     = alltrue([for tick in aws_lambda_function_event_invoke_config.ticks : tick.maximum_retry_attempts == 0]) && length(aws_lambda_function_event_invoke_config.ticks) == 2
    error_message = "A schedule invokes asynchronously: Lambda would try a tick that failed twice more, beside the next ones."
  }
  assert {
    condition     = keys(aws_lambda_function_event_invoke_config.submitting) == ["submit_tasks"] && aws_lambda_function_event_invoke_config.submitting["submit_tasks"].destination_config[0].on_failure[0].destination == aws_sqs_queue.failed.arn
    error_message = "What asked for a session that was not submitted is kept."
  }
}

run "signed_by_iam" {
  command = apply
  variables {
    rest_api = {
      callers      = [{ arn = "arn:aws:iam::123456789012:role/desk", scopes = ["read", "submit"], tenants = ["rates"] }]
      function_url = true
    }
    api                    = {}
    step_functions_example = "s3://desk/out/"
    rules                  = { patterns = { objects = "{\"source\":[\"aws.s3\"]}" }, stream_arns = { ticks = "arn:aws:kinesis:eu-west-1:123456789012:stream/ticks" } }
    places                 = { sources = ["arn:aws:s3:::desk/in/*"] }
  }
  assert {
    condition     = alltrue([for route in aws_apigatewayv2_route.this : route.authorization_type == "AWS_IAM"])
    error_message = "Every route asks who calls."
  }
  assert {
    condition     = output.destinations.step_functions && strcontains(aws_sfn_state_machine.example["this"].definition, ":function:htcgrid-book-submit-tasks")
    error_message = "The example's state waits, and agents may wake it."
  }
  assert {
    condition     = aws_lambda_permission.rule["objects"].source_arn == aws_cloudwatch_event_rule.this["objects"].arn && !aws_lambda_event_source_mapping.rule_stream["ticks"].bisect_batch_on_function_error
    error_message = "One rule may invoke the function, and a batch of records stays one session."
  }
  assert {
    condition     = aws_lambda_function_event_invoke_config.submitting["submit_on_event"].destination_config[0].on_failure[0].destination == aws_sqs_queue.failed.arn
    error_message = "An event that could not become a session is kept."
  }
  assert {
    condition     = aws_lambda_event_source_mapping.rule_stream["ticks"].destination_config[0].on_failure[0].destination_arn == aws_sqs_queue.failed.arn
    error_message = "A batch that is dropped after its tries is told of."
  }
  assert {
    condition     = aws_cloudwatch_event_target.this["objects"].dead_letter_config[0].arn == aws_sqs_queue.failed.arn && strcontains(aws_sqs_queue_policy.failed.policy, aws_cloudwatch_event_rule.this["objects"].arn)
    error_message = "An event that could not be delivered is kept, and its rule may write there."
  }
  assert {
    condition     = output.failed_queue_names == { events = aws_sqs_queue.failed.name }
    error_message = "Its alarm finds the queue."
  }
  assert {
    condition     = aws_apigatewayv2_route.rest["this"].authorization_type == "AWS_IAM" && aws_apigatewayv2_route.rest["this"].route_key == "$default"
    error_message = "Every path is the function's, and asks who calls."
  }
  assert {
    condition     = jsondecode(local.rest_environment.HTCGRID_API_CALLERS)[0].tenants == ["rates"] && length(local.rest_environment) == 1
    error_message = "The function knows its callers, and no other way in."
  }
  assert {
    condition     = aws_lambda_function_url.rest["this"].authorization_type == "AWS_IAM" && strcontains(aws_iam_policy.rest_caller["this"].policy, "lambda:InvokedViaFunctionUrl")
    error_message = "Who may ask through the URL may not invoke the function itself."
  }
  assert {
    condition     = length(aws_scheduler_schedule.this) == 3 && aws_lambda_function_event_invoke_config.ticks["rest_api"].maximum_retry_attempts == 0
    error_message = "Uploads that were left are looked for."
  }
  assert {
    condition     = length(aws_ssm_parameter.api_keys) == 0 && output.rest_api_url == aws_apigatewayv2_api.rest["this"].api_endpoint && output.rest_function_url != null
    error_message = "It is found, and has no keys that nobody asked for."
  }
}

run "with_tokens" {
  command = apply
  variables {
    rest_api = { authorization = "JWT", issuer = "https://issuer.example.com", clients = ["desk"] }
    api      = { issuer = "https://issuer.example.com", audiences = ["htcgrid"] }
  }
  assert {
    condition     = alltrue([for route in aws_apigatewayv2_route.this : route.authorization_type == "JWT" && route.authorizer_id != null])
    error_message = "Every route asks for a token."
  }
  assert {
    condition     = aws_apigatewayv2_route.rest["this"].authorization_type == "JWT" && aws_apigatewayv2_route.rest["this"].authorizer_id == aws_apigatewayv2_authorizer.rest["this"].id
    error_message = "The gateway refuses what is no token."
  }
  assert {
    condition     = local.rest_environment.HTCGRID_JWT_CLIENTS == "desk" && aws_apigatewayv2_authorizer.rest["this"].jwt_configuration[0].audience == toset(["desk"])
    error_message = "Both take the same tokens."
  }
  assert {
    condition     = alltrue([for stage in [aws_apigatewayv2_stage.rest["this"], aws_apigatewayv2_stage.this["this"]] : jsondecode(stage.access_log_settings[0].format).subject == "$context.authorizer.claims.sub"])
    error_message = "The logs say who asked."
  }
}

run "nobody_could_ask" {
  command = plan
  variables {
    rest_api = {}
  }
  expect_failures = [var.rest_api]
}

run "a_url_for_everybody" {
  command = plan
  variables {
    rest_api = { authorization = "KEYS", function_url = true }
  }
  expect_failures = [var.rest_api]
}

run "an_issuer_without_audience" {
  command = plan
  variables {
    api = { issuer = "https://issuer.example.com" }
  }
  expect_failures = [var.api]
}

run "times" {
  command = apply
  variables {
    submit_queue = true
    rules        = {}
  }
  assert {
    condition     = local.functions.submit_tasks.timeout_seconds == 900 && local.functions.submit_on_event.timeout_seconds == 900 && local.functions.get_results.timeout_seconds == 900
    error_message = "A vector of any length is submitted, and its results are written, in the longest time that a function has."
  }
  assert {
    condition     = aws_sqs_queue.submit["this"].visibility_timeout_seconds == 5400
    error_message = "A message is hidden for six times as long as its function may take."
  }
  assert {
    condition     = output.failed_queue_names == { events = aws_sqs_queue.failed.name, messages = aws_sqs_queue.refused["this"].name }
    error_message = "The alarm finds the queue of refused messages, too."
  }
}

run "shorter_times" {
  command = apply
  variables {
    rest_api                = { authorization = "KEYS" }
    submit_queue            = true
    submit_timeout_seconds  = 60
    results_timeout_seconds = 45
  }
  assert {
    condition     = local.functions.submit_tasks.timeout_seconds == 60 && local.functions.get_results.timeout_seconds == 45
    error_message = "They are the operator's to say."
  }
  assert {
    condition     = aws_sqs_queue.submit["this"].visibility_timeout_seconds == 360
    error_message = "A message is hidden for six times as long as its function may take."
  }
  assert {
    condition     = local.rest_environment == { HTCGRID_API_KEYS = "/htcgrid/book/api-keys" } && output.api_keys_parameter == aws_ssm_parameter.api_keys["this"].name
    error_message = "The function finds the keys that the operator puts there."
  }
  assert {
    condition     = aws_apigatewayv2_route.rest["this"].authorization_type == "NONE" && aws_ssm_parameter.api_keys["this"].type == "SecureString" && length(aws_iam_policy.rest_caller) == 0
    error_message = "The function itself asks for keys, which are encrypted."
  }
}

run "keys_in_a_secret" {
  command = apply
  variables {
    rest_api = { authorization = "KEYS", keys_secret_arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:api-keys-a1b2c3" }
  }
  assert {
    condition     = local.rest_environment == { HTCGRID_API_KEYS = var.rest_api.keys_secret_arn } && length(aws_ssm_parameter.api_keys) == 0 && output.api_keys_parameter == null
    error_message = "They are in the secret alone."
  }
}

run "a_secret_without_keys" {
  command = plan
  variables {
    rest_api = { authorization = "KEYS", keys_secret_arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:api-keys" }
  }
  expect_failures = [var.rest_api]
}

run "no_time_of_lambda" {
  command = plan
  variables {
    submit_timeout_seconds  = 901
    results_timeout_seconds = 5
  }
  expect_failures = [var.submit_timeout_seconds, var.results_timeout_seconds]
}
