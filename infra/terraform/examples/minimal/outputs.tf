output "url" {
  description = "What clients connect to."
  value       = module.data_plane.url
}

output "submitter_policy_arn" {
  description = "Attach it to whoever submits."
  value       = module.data_plane.policy_arns["submitter"]
}

output "repository_url" {
  description = "Where to push the agents' image."
  value       = module.workers.repository_url
}

output "helm_values" {
  description = "What the chart agent/helm/htcgrid takes: terraform output -raw helm_values > values.yaml"
  value = yamlencode({
    url            = module.data_plane.url
    image          = { repository = module.workers.repository_url }
    serviceAccount = { name = module.workers.service_account }
    nodePool       = { role = module.cluster.node_role_name }
  })
}
