# Rules over what agents themselves count (docs/metrics.md), for whoever scrapes them into this workspace.

locals {
  # By name: PromQL, minutes for which it must hold, and what it means.
  rules = {
    "agents-not-ready"  = ["sum by (pool) (htcgrid_ready == bool 0) > 0", 10, "Agents live and cannot work"]
    "breaker-open"      = ["max by (of) (htcgrid_breaker_open) > 0", 5, "Agents claim nothing: the grid keeps failing, or workers cannot start"]
    "bundles-lost"      = ["sum(increase(htcgrid_bundles_lost_total{reason!=\"session_ended\"}[15m])) > 10", 5, "Agents lose their leases"]
    "calls-throttled"   = ["sum by (operation) (rate(htcgrid_aws_calls_total{answer=\"throttled\"}[5m])) > 1", 10, "AWS refuses calls of agents"]
    "slots-missing"     = ["sum(max by (pool, priority) (htcgrid_slots_wanted)) > 2 * sum(htcgrid_slots)", 15, "Fewer than half of the slots wanted are there"]
    "workers-violating" = ["sum(increase(htcgrid_worker_violations_total[15m])) > 0", 0, "Workers say what is not theirs to say"]
  }
}

resource "aws_prometheus_workspace" "this" {
  for_each    = var.prometheus ? { "this" = true } : {}
  region      = var.region
  alias       = "htcgrid-${var.name}"
  kms_key_arn = var.key_arn
  tags        = local.tags
}

resource "aws_prometheus_rule_group_namespace" "this" {
  for_each     = aws_prometheus_workspace.this
  region       = var.region
  name         = "htcgrid"
  workspace_id = each.value.id
  tags         = local.tags
  data = yamlencode({ groups = [{
    name = "htcgrid"
    rules = [for name, rule in local.rules : {
      alert       = name
      expr        = rule[0]
      for         = "${rule[1]}m"
      annotations = { summary = rule[2], runbook = "docs/runbook.md#${name}" }
    }]
  }] })
}
