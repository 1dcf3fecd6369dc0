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
