# A grid without a cluster: agents are Lambda functions, and so is all that looks after the grid. Nothing of it is paid
# for while nothing runs, but for the key, the schedules and what is stored.

module "data_plane" {
  source              = "../../modules/data_plane"
  name                = var.name
  region              = var.region
  signing_key         = var.signing_key
  agents              = 2 * var.concurrency # as many as all mappings together may invoke
  visibility_seconds  = 5400                # six times the agents' timeout
  deletion_protection = var.deletion_protection
  destinations        = module.control_plane.destinations
}

module "agents" {
  source      = "../../modules/function_agents"
  name        = var.name
  region      = var.region
  grid        = module.data_plane.grid
  package     = var.package
  concurrency = { high = var.concurrency, normal = var.concurrency, low = 2 }
}

module "control_plane" {
  source                 = "../../modules/control_plane"
  name                   = var.name
  region                 = var.region
  grid                   = module.data_plane.grid
  package                = var.package
  key_arn                = module.data_plane.key_arn
  api                    = {}
  rest_api               = length(var.callers) == 0 ? null : { callers = var.callers }
  submit_queue           = true
  rules                  = { patterns = var.event_patterns }
  step_functions_example = var.results_uri
}

module "observability" {
  source             = "../../modules/observability"
  name               = var.name
  region             = var.region
  table_name         = module.data_plane.table_name
  queue_names        = module.data_plane.queue_names
  failed_queue_names = module.control_plane.failed_queue_names
  key_arn            = module.data_plane.key_arn
  emails             = var.emails
  reconciler         = module.control_plane.functions["ttl_checker"].function_name
  functions = merge(module.control_plane.functions, { agents = {
    function_name  = module.agents.function_name
    log_group_name = module.agents.log_group_name
  } })
}
