variables {
  name        = "book"
  region      = "eu-west-1"
  title       = "agent"
  permissions = "../../../../htcgrid_core/cloud/function_agent_permissions.json"
  pool        = "default"
  package     = "versions.tf" # any file: nobody runs it
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

run "nothing_is_allowed_on_what_is_not_there" {
  command = apply
  assert {
    condition     = !strcontains(aws_iam_role_policy.this.policy, "sns:Publish") && !strcontains(aws_iam_role_policy.this.policy, "kms:")
    error_message = "There is neither a topic nor a key."
  }
  assert {
    condition     = aws_lambda_function.this.architectures == tolist(["arm64"]) && aws_lambda_function.this.environment[0].variables["HTCGRID_URL"] == var.grid.url
    error_message = "It runs on arm64, and finds its grid."
  }
}

run "what_its_code_does_not_read" {
  command = plan
  variables {
    environment = { HTCGRID_POOLS = "default" }
  }
  expect_failures = [aws_lambda_function.this]
}

run "no_python_of_lambda" {
  command = plan
  variables {
    runtime = "nodejs22.x"
  }
  expect_failures = [var.runtime]
}

run "keys_in_a_parameter" {
  command = apply
  variables {
    title       = "rest-api"
    permissions = "../../../../htcgrid_core/lambdas/rest_api.json"
    pool        = null
    environment = { HTCGRID_API_KEYS = "/htcgrid/book/api-keys" }
  }
  assert {
    condition     = strcontains(aws_iam_role_policy.this.policy, "parameter/htcgrid/book/api-keys") && !strcontains(aws_iam_role_policy.this.policy, "secretsmanager")
    error_message = "It may read the parameter, and no secret."
  }
}

run "keys_in_a_secret" {
  command = apply
  variables {
    title       = "rest-api"
    permissions = "../../../../htcgrid_core/lambdas/rest_api.json"
    pool        = null
    environment = { HTCGRID_API_KEYS = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:api-keys-a1b2c3" }
    grid        = merge(var.grid, { key_arn = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555" })
  }
  assert {
    condition     = length([for each in jsondecode(aws_iam_role_policy.this.policy).Statement : each if each.Sid == "ApiKeysSecret" && each.Action == "secretsmanager:GetSecretValue" && each.Resource == "arn:aws:secretsmanager:eu-west-1:123456789012:secret:api-keys-a1b2c3"]) == 1
    error_message = "It may read this secret alone."
  }
  assert {
    condition     = strcontains(aws_iam_role_policy.this.policy, "secretsmanager.eu-west-1.amazonaws.com") && !strcontains(aws_iam_role_policy.this.policy, "parameter/htcgrid/book/api-keys")
    error_message = "Also if it is encrypted with the grid's key; and no parameter."
  }
}

run "what_it_did_not_manage_is_kept" {
  command = apply
  variables {
    title             = "submit-tasks"
    permissions       = "../../../../htcgrid_core/lambdas/submit_tasks.json"
    pool              = null
    failed_queue_arns = ["arn:aws:sqs:eu-west-1:123456789012:htcgrid_book_submit_failed"]
  }
  assert {
    condition     = length([for each in jsondecode(aws_iam_role_policy.this.policy).Statement : each if each.Sid == "Failed" && each.Action == "sqs:SendMessage" && each.Resource == "arn:aws:sqs:eu-west-1:123456789012:htcgrid_book_submit_failed"]) == 1
    error_message = "Lambda writes there in the function's name."
  }
}
