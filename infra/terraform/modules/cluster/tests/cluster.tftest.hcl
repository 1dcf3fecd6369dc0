variables {
  name       = "book"
  region     = "eu-west-1"
  subnet_ids = ["subnet-1", "subnet-2"]
}

run "auto_mode_is_three_things_together" {
  command = plan
  assert {
    condition = alltrue([
      aws_eks_cluster.this.compute_config[0].enabled,
      aws_eks_cluster.this.storage_config[0].block_storage[0].enabled,
      aws_eks_cluster.this.kubernetes_network_config[0].elastic_load_balancing[0].enabled,
      !aws_eks_cluster.this.bootstrap_self_managed_addons,
    ])
    error_message = "EKS refuses one without the others."
  }
  assert {
    condition     = !aws_eks_cluster.this.vpc_config[0].endpoint_public_access
    error_message = "The API is reached from the VPC only."
  }
}

run "karpenter_instead" {
  command = plan
  variables {
    mode = "karpenter"
  }
  assert {
    condition     = !aws_eks_cluster.this.compute_config[0].enabled && length(aws_eks_addon.this) == 4
    error_message = "Without Auto Mode the cluster needs its add-ons."
  }
}

run "faster_scaling_needs_a_provisioned_control_plane" {
  command = plan
  variables {
    scaling_seconds = 10
  }
  expect_failures = [var.scaling_seconds]
}
