output "agent_role_arn" {
  description = "The agents' IAM role."
  value       = aws_iam_role.agent.arn
}

output "repository_url" {
  description = "Where to push the agents' image: the chart's image.repository; null without a repository."
  value       = one([for repository in aws_ecr_repository.agent : repository.repository_url])
}

output "namespace" {
  description = "The chart's namespace."
  value       = var.namespace
}

output "service_account" {
  description = "The chart's serviceAccount.name."
  value       = var.service_account
}
