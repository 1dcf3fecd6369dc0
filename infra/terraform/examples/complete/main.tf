# Two pools for 10,000 tasks a second on up to 100,000 cores, told about when something is wrong: docs/deploy.md has the
# quotas that this needs, with the arithmetic.

module "network" {
  source              = "../../modules/network"
  name                = var.name
  region              = var.region
  cidr                = "10.0.0.0/16"
  interface_endpoints = ["aps-workspaces", "ec2", "ecr.api", "ecr.dkr", "eks", "eks-auth", "kms", "logs", "monitoring", "sqs", "ssm", "sts"]
  internet_egress     = true
  flow_log_days       = 90
  key_arn             = module.data_plane.key_arn
}

module "data_plane" {
  source              = "../../modules/data_plane"
  name                = var.name
  region              = var.region
  pools               = ["default", "big"]
  signing_key         = var.signing_key
  agents              = var.agents
  warm_throughput     = { read_units_per_second = 24000, write_units_per_second = 24000 }
  max_throughput      = { read_units = 100000, write_units = 60000 }
  deletion_protection = var.deletion_protection
}

module "cluster" {
  source              = "../../modules/cluster"
  name                = var.name
  region              = var.region
  subnet_ids          = module.network.private_subnet_ids
  admin_arns          = var.admin_arns
  key_arn             = module.data_plane.key_arn
  control_plane_tier  = "tier-4xl"
  scaling_seconds     = 10
  log_days            = 90
  deletion_protection = var.deletion_protection
}

module "workers" {
  source           = "../../modules/workers"
  name             = var.name
  region           = var.region
  cluster_name     = module.cluster.name
  agent_policy_arn = module.data_plane.policy_arns["agent"]
  queue_arns       = module.data_plane.queue_arns
  key_arn          = module.data_plane.key_arn
}

module "observability" {
  source         = "../../modules/observability"
  name           = var.name
  region         = var.region
  table_name     = module.data_plane.table_name
  queue_names    = module.data_plane.queue_names
  key_arn        = module.data_plane.key_arn
  emails         = var.emails
  monthly_budget = 5000
  prometheus     = true
}
