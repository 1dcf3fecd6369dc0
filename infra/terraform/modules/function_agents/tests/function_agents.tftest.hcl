variables {
  name            = "book"
  timeout_seconds = 100
  region          = "eu-west-1"
  package         = "versions.tf" # any file: nobody runs it
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
    visibility_seconds = 600
    key_arn            = null
    destinations       = { queues = [], topics = [], buses = [], step_functions = false }
  }
}

run "a_mapping_for_each_priority" {
  command = apply
  assert {
    condition     = length(aws_lambda_event_source_mapping.this) == 3 && aws_lambda_event_source_mapping.this["low"].scaling_config[0].maximum_concurrency == 2
    error_message = "The pool's size is what its mappings allow."
  }
  assert {
    condition     = output.function_name == "htcgrid-book-agent-default"
    error_message = "The function is called by its pool."
  }
}

run "messages_that_come_again_too_soon" {
  command = plan
  variables {
    timeout_seconds = 101
  }
  expect_failures = [aws_lambda_event_source_mapping.this]
}

run "a_single_invocation" {
  command = plan
  variables {
    concurrency = { high = 1, normal = 2, low = 2 }
  }
  expect_failures = [var.concurrency]
}
