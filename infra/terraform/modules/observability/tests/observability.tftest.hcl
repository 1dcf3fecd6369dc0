variables {
  name        = "book"
  region      = "eu-west-1"
  table_name  = "htcgrid-book"
  queue_names = { default = { high = "h", normal = "n", low = "l", dead = "d" } }
}

run "an_alarm_for_each_queue" {
  command = apply
  assert {
    condition     = length(output.alarm_names) == 1 + 3 + 3 + 2
    error_message = "Dead letters, age and messages in flight of each queue, and the table's throttling."
  }
}

run "options" {
  command = plan
  variables {
    prometheus     = true
    monthly_budget = 100
    emails         = ["desk@example.com"]
  }
  assert {
    condition     = length(aws_prometheus_workspace.this) == 1 && length(aws_budgets_budget.this) == 1
    error_message = "Both are made when asked for."
  }
}

run "functions" {
  command = apply
  variables {
    functions  = { agents = { function_name = "htcgrid-book-agent-default", log_group_name = "/htcgrid/book/function/agent-default" } }
    reconciler = "htcgrid-book-ttl-checker"
  }
  assert {
    condition     = contains(output.alarm_names, "htcgrid-book-messages-refused-agents") && contains(output.alarm_names, "htcgrid-book-reconciler-silent")
    error_message = "Refusals, errors and silence of functions are told."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["messages-refused-agents"].metric_name == aws_cloudwatch_log_metric_filter.refused["agents"].metric_transformation[0].name
    error_message = "The alarm looks at what is counted."
  }
}

run "what_was_not_submitted" {
  command = apply
  variables {
    failed_queue_names = { events = "htcgrid_book_submit_failed" }
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["submissions-failed-events"].dimensions["QueueName"] == "htcgrid_book_submit_failed" && aws_cloudwatch_metric_alarm.this["submissions-failed-events"].threshold == 0
    error_message = "The first one is told."
  }
}
