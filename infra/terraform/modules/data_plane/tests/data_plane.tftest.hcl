variables {
  name        = "book"
  region      = "eu-west-1"
  signing_key = "abababababababababababababababababababababababababababababababab"
}

run "names_are_those_of_bootstrap" {
  command = apply
  assert {
    condition     = output.table_name == "htcgrid-book" && output.queue_names["default"]["high"] == "htcgrid_book_default_high"
    error_message = "Clients and agents find other names."
  }
  assert {
    condition     = aws_ssm_parameter.this.tier == "Standard"
    error_message = "One pool's parameter is of the standard tier."
  }
}

run "many_pools_take_the_advanced_tier" {
  command = apply
  variables {
    pools = ["p01", "p02", "p03", "p04", "p05", "p06", "p07", "p08", "p09", "p10", "p11", "p12", "p13"]
  }
  assert {
    condition     = aws_ssm_parameter.this.tier == "Advanced"
    error_message = "Over 4,096 characters SSM wants the advanced tier."
  }
}

run "keys_of_aws_alone" {
  command = plan
  variables {
    customer_key = false
  }
  assert {
    condition     = length(aws_kms_key.this) == 0 && alltrue([for queue in aws_sqs_queue.this : queue.sqs_managed_sse_enabled])
    error_message = "Without a key of its own AWS's encrypts the queues."
  }
}

run "a_name_that_cannot_be" {
  command = plan
  variables {
    name = "Book-"
  }
  expect_failures = [var.name]
}

run "a_secret_that_is_none" {
  command = plan
  variables {
    signing_key = "secret"
  }
  expect_failures = [var.signing_key]
}
