output "url" {
  description = "What clients connect to."
  value       = module.data_plane.url
}

output "submitter_policy_arn" {
  description = "Attach it to whoever submits."
  value       = module.data_plane.policy_arns["submitter"]
}

output "rest_api_url" {
  description = "The REST API, for callers who sign with IAM; null without any."
  value       = module.control_plane.rest_api_url
}

output "api_url" {
  description = "The HTTP API, for callers who sign with IAM."
  value       = module.control_plane.api_url
}
