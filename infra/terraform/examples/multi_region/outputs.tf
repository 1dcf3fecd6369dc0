output "url" {
  description = "What clients connect to: they place each session in one of the regions. With weights, as in :3 behind a region, one gets more."
  value       = "aws://${var.name}?regions=${join(",", sort(var.regions))}"
}

output "urls" {
  description = "What agents, schedules and servers of each region connect to."
  value       = { for region, grid in module.data_plane : region => grid.url }
}

output "submitter_policy_arns" {
  description = "Attach them to whoever submits."
  value       = { for region, grid in module.data_plane : region => grid.policy_arns["submitter"] }
}

output "helm_values" {
  description = "What the chart agent/helm/htcgrid takes in each region."
  value = { for region, grid in module.data_plane : region => yamlencode({
    url            = grid.url
    image          = { repository = module.workers[region].repository_url }
    serviceAccount = { name = module.workers[region].service_account }
    nodePool       = { role = module.cluster[region].node_role_name }
  }) }
}
