# The example of docs/step-functions.md: prepare, fan out, branch on the share of failures, report.

locals {
  machine  = "htcgrid-${var.name}-example"
  machines = var.step_functions_example == null ? {} : { "this" = var.step_functions_example }
}

data "aws_iam_policy_document" "states_trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["states.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.this.account_id]
    }
  }
}

data "aws_iam_policy_document" "states" {
  statement {
    sid       = "Invoke"
    actions   = ["lambda:InvokeFunction"]
    resources = [module.function["submit_tasks"].arn, module.function["get_results"].arn]
  }
}

resource "aws_iam_role" "states" {
  for_each           = local.machines
  name               = "htcgrid-${var.name}-${var.region}-states"
  description        = "State machine ${local.machine}"
  assume_role_policy = data.aws_iam_policy_document.states_trust.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "states" {
  for_each = local.machines
  name     = "invoke"
  role     = aws_iam_role.states[each.key].name
  policy   = data.aws_iam_policy_document.states.json
}

resource "aws_sfn_state_machine" "example" {
  for_each = local.machines
  region   = var.region
  name     = local.machine
  role_arn = aws_iam_role.states[each.key].arn
  type     = "STANDARD" # others cannot wait for a token
  tags     = local.tags

  definition = templatefile("${path.module}/../../../../example_dags/step_functions/book.asl.json", {
    submit_tasks = module.function["submit_tasks"].arn
    get_results  = module.function["get_results"].arn
    results      = each.value
  })
}
