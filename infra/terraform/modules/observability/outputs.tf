output "topic_arn" {
  description = "Where alarms are told, for further subscriptions."
  value       = aws_sns_topic.alarms.arn
}

output "alarm_names" {
  description = "The alarms: docs/runbook.md has a section for each."
  value       = sort([for alarm in concat(values(aws_cloudwatch_metric_alarm.this), values(aws_cloudwatch_metric_alarm.reconciler)) : alarm.alarm_name])
}

output "prometheus_endpoint" {
  description = "Where to write agents' metrics; null without a workspace."
  value       = one([for workspace in aws_prometheus_workspace.this : workspace.prometheus_endpoint])
}
