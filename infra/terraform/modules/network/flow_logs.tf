# Who talked to whom, for whoever has to find out.

resource "aws_cloudwatch_log_group" "flow" {
  for_each          = local.flow_logs
  region            = var.region
  name              = "/htcgrid/${var.name}/flow"
  retention_in_days = var.flow_log_days
  kms_key_id        = var.key_arn
  tags              = local.tags
}

data "aws_iam_policy_document" "flow_trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["vpc-flow-logs.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "flow" {
  for_each = local.flow_logs
  statement {
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.flow[each.key].arn}:*"]
  }
}

resource "aws_iam_role" "flow" {
  for_each           = local.flow_logs
  name               = "htcgrid-${var.name}-${var.region}-flow-logs"
  description        = "Writes the VPC's flow logs"
  assume_role_policy = data.aws_iam_policy_document.flow_trust.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "flow" {
  for_each = local.flow_logs
  name     = "write"
  role     = aws_iam_role.flow[each.key].name
  policy   = data.aws_iam_policy_document.flow[each.key].json
}

resource "aws_flow_log" "this" {
  for_each                 = local.flow_logs
  region                   = var.region
  vpc_id                   = aws_vpc.this.id
  traffic_type             = "ALL"
  log_destination_type     = "cloud-watch-logs"
  log_destination          = aws_cloudwatch_log_group.flow[each.key].arn
  iam_role_arn             = aws_iam_role.flow[each.key].arn
  max_aggregation_interval = 600
  tags                     = local.tags
}
