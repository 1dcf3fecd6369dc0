output "url" {
  description = "By which clients and agents find the grid."
  value       = "aws://${var.name}?region=${var.region}"
  depends_on  = [aws_ssm_parameter.this]
}

output "parameter" {
  description = "What the grid's parameter says, as JSON."
  value       = local.parameter
}

output "policy_arns" {
  description = "IAM policies by component: agent, operator, submitter."
  value       = { for component, policy in aws_iam_policy.component : component => policy.arn }
}

output "table_name" {
  description = "The DynamoDB table."
  value       = aws_dynamodb_table.this.name
}

output "bucket_name" {
  description = "The S3 bucket."
  value       = aws_s3_bucket.this.bucket
}

output "queue_names" {
  description = "The SQS queues' names by pool and priority, dead letters included."
  value = { for pool in var.pools : pool => merge(
    { for priority in local.priorities : priority => aws_sqs_queue.this["${pool}_${priority}"].name },
    { dead = aws_sqs_queue.dead[pool].name }
  ) }
}

output "queue_arns" {
  description = "ARNs of the queues that agents take work from, for whoever scales by them."
  value       = local.arns.queues
}

output "key_arn" {
  description = "The grid's KMS key; null where AWS's are used."
  value       = local.key_arn
}

output "grid" {
  description = "The grid, as function_agents and control_plane take it."
  value = {
    url           = "aws://${var.name}?region=${var.region}"
    parameter_arn = aws_ssm_parameter.this.arn
    secret_arn    = aws_ssm_parameter.key.arn
    table_arn     = aws_dynamodb_table.this.arn
    bucket_arn    = aws_s3_bucket.this.arn
    queue_arns = { for pool in var.pools : pool => merge(
      { for priority in local.priorities : priority => aws_sqs_queue.this["${pool}_${priority}"].arn },
      { dead = aws_sqs_queue.dead[pool].arn }
    ) }
    visibility_seconds = var.visibility_seconds
    key_arn            = local.key_arn
    destinations       = var.destinations
  }
}
