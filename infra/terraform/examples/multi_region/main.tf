# A grid in each of several regions, which know nothing of each other: a session lives in the region in which its client
# placed it, and when one is down its clients place new ones elsewhere. Conditional writes hold in one region only, so that
# no table is replicated.

module "network" {
  for_each = var.regions
  source   = "../../modules/network"
  name     = var.name
  region   = each.key
}

module "data_plane" {
  for_each            = var.regions
  source              = "../../modules/data_plane"
  name                = var.name
  region              = each.key
  signing_key         = var.signing_keys[each.key]
  agents              = 20
  deletion_protection = var.deletion_protection
}

module "cluster" {
  for_each            = var.regions
  source              = "../../modules/cluster"
  name                = var.name
  region              = each.key
  subnet_ids          = module.network[each.key].private_subnet_ids
  admin_arns          = var.admin_arns
  deletion_protection = var.deletion_protection
}

module "workers" {
  for_each         = var.regions
  source           = "../../modules/workers"
  name             = var.name
  region           = each.key
  cluster_name     = module.cluster[each.key].name
  agent_policy_arn = module.data_plane[each.key].policy_arns["agent"]
  queue_arns       = module.data_plane[each.key].queue_arns
}

module "observability" {
  for_each    = var.regions
  source      = "../../modules/observability"
  name        = var.name
  region      = each.key
  table_name  = module.data_plane[each.key].table_name
  queue_names = module.data_plane[each.key].queue_names
  key_arn     = module.data_plane[each.key].key_arn
}
