# An EKS cluster for agents. It has nothing of Kubernetes in it: the chart brings that, and its own state.

data "aws_partition" "this" {}

locals {
  cluster  = "htcgrid-${var.name}"
  tags     = merge(var.tags, { "htcgrid:grid" = var.name })
  managed  = "arn:${data.aws_partition.this.partition}:iam::aws:policy"
  auto     = var.mode == "auto"
  policies = local.auto ? ["AmazonEKSBlockStoragePolicy", "AmazonEKSClusterPolicy", "AmazonEKSComputePolicy", "AmazonEKSLoadBalancingPolicy", "AmazonEKSNetworkingPolicy"] : ["AmazonEKSClusterPolicy"]
  of_nodes = local.auto ? ["AmazonEC2ContainerRegistryPullOnly", "AmazonEKSWorkerNodeMinimalPolicy"] : ["AmazonEC2ContainerRegistryPullOnly", "AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy"]
}

resource "aws_cloudwatch_log_group" "this" {
  region            = var.region
  name              = "/aws/eks/${local.cluster}/cluster"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
  tags              = local.tags
}

resource "aws_eks_cluster" "this" {
  region                        = var.region
  name                          = local.cluster
  role_arn                      = aws_iam_role.cluster.arn
  version                       = var.kubernetes_version
  bootstrap_self_managed_addons = !local.auto
  deletion_protection           = var.deletion_protection
  enabled_cluster_log_types     = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  tags                          = local.tags

  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = false
  }

  vpc_config {
    subnet_ids              = var.subnet_ids
    endpoint_private_access = true
    endpoint_public_access  = length(var.public_access_cidrs) > 0
    public_access_cidrs     = length(var.public_access_cidrs) > 0 ? var.public_access_cidrs : null
  }

  # Auto Mode is these three together.
  compute_config {
    enabled       = local.auto
    node_pools    = local.auto ? ["system"] : null # the chart makes the grid's own
    node_role_arn = local.auto ? aws_iam_role.node.arn : null
  }

  kubernetes_network_config {
    elastic_load_balancing {
      enabled = local.auto
    }
  }

  storage_config {
    block_storage {
      enabled = local.auto
    }
  }

  dynamic "control_plane_scaling_config" {
    for_each = var.control_plane_tier == "standard" ? [] : [var.control_plane_tier]
    content {
      tier = control_plane_scaling_config.value
    }
  }

  dynamic "kube_controller_manager_config" {
    for_each = var.scaling_seconds == 15 ? [] : [var.scaling_seconds]
    content {
      horizontal_pod_autoscaler_controller_config {
        horizontal_pod_autoscaler_sync_period = "${kube_controller_manager_config.value}s"
      }
    }
  }

  dynamic "encryption_config" {
    for_each = var.key_arn == null ? [] : [var.key_arn]
    content {
      resources = ["secrets"]
      provider {
        key_arn = encryption_config.value
      }
    }
  }

  upgrade_policy {
    support_type = "STANDARD"
  }

  zonal_shift_config {
    enabled = true
  }

  depends_on = [aws_iam_role_policy_attachment.cluster, aws_cloudwatch_log_group.this]
}

# Auto Mode has the agent of Pod Identity built in.
resource "aws_eks_addon" "this" {
  for_each                    = local.auto ? toset([]) : toset(["coredns", "eks-pod-identity-agent", "kube-proxy", "vpc-cni"])
  region                      = var.region
  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  resolve_conflicts_on_update = "OVERWRITE"
  tags                        = local.tags
}

resource "aws_eks_addon" "metrics" {
  region                      = var.region
  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = "metrics-server"
  resolve_conflicts_on_update = "OVERWRITE"
  tags                        = local.tags
}
