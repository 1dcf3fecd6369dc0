# Rules over what agents themselves count (docs/monitoring.md), for whoever scrapes them into this workspace. They keep grids
# apart by the labels that agents put on every series, so that several may write to one workspace.

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
  data         = file("${path.module}/../../../monitoring/rules.yaml")
}
