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
  source                    = "../../modules/data_plane"
  name                      = var.name
  region                    = var.region
  pools                     = ["default", "big"]
  signing_key               = var.signing_key
  agents                    = var.agents
  warm_throughput           = { read_units_per_second = 24000, write_units_per_second = 24000 }
  max_throughput            = { read_units = 100000, write_units = 60000 }
  deletion_protection       = var.deletion_protection
  high_parameter_throughput = true # 3,125 agents may start at once
  destinations              = merge(module.control_plane.destinations, { queues = var.told_queues })
}

# While agents are scaled to nothing, nobody else ends what is overdue or tells the scaler what is wanted.
module "control_plane" {
  source                 = "../../modules/control_plane"
  name                   = var.name
  region                 = var.region
  grid                   = module.data_plane.grid
  package                = var.package
  key_arn                = module.data_plane.key_arn
  step_functions_example = var.results_uri
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
  source             = "../../modules/observability"
  name               = var.name
  region             = var.region
  table_name         = module.data_plane.table_name
  queue_names        = module.data_plane.queue_names
  key_arn            = module.data_plane.key_arn
  emails             = var.emails
  functions          = module.control_plane.functions
  failed_queue_names = module.control_plane.failed_queue_names
  reconciler         = module.control_plane.functions["ttl_checker"].function_name
  monthly_budget     = 5000
  prometheus         = true
}
