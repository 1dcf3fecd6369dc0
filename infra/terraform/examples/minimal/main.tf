# A grid with one pool, on a cluster of its own; all else is as the modules have it.

module "network" {
  source = "../../modules/network"
  name   = var.name
  region = var.region
}

module "data_plane" {
  source              = "../../modules/data_plane"
  name                = var.name
  region              = var.region
  signing_key         = var.signing_key
  agents              = 20
  deletion_protection = var.deletion_protection
}

module "cluster" {
  source              = "../../modules/cluster"
  name                = var.name
  region              = var.region
  subnet_ids          = module.network.private_subnet_ids
  admin_arns          = var.admin_arns
  deletion_protection = var.deletion_protection
}

module "workers" {
  source           = "../../modules/workers"
  name             = var.name
  region           = var.region
  cluster_name     = module.cluster.name
  agent_policy_arn = module.data_plane.policy_arns["agent"]
  queue_arns       = module.data_plane.queue_arns
}
