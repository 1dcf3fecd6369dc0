output "name" {
  description = "The cluster, for `aws eks update-kubeconfig --name`."
  value       = aws_eks_cluster.this.name
}

output "endpoint" {
  description = "URL of the cluster's API."
  value       = aws_eks_cluster.this.endpoint
}

output "node_role_name" {
  description = "The nodes' role: the chart's nodePool.role."
  value       = aws_iam_role.node.name
}

output "security_group_id" {
  description = "The cluster's own security group."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}
