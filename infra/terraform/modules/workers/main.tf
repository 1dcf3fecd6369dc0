# What agents in the cluster may do, by Pod Identity, and where their image is.

locals {
  tags = merge(var.tags, { "htcgrid:grid" = var.name })
  keda = var.keda == null ? {} : { "this" = var.keda }
}

data "aws_iam_policy_document" "pod_trust" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]
    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "agent" {
  name               = "htcgrid-${var.name}-${var.region}-agent"
  description        = "Agents of grid ${var.name} in ${var.region}"
  assume_role_policy = data.aws_iam_policy_document.pod_trust.json
  tags               = local.tags
}

resource "aws_iam_role_policy_attachment" "agent" {
  for_each   = merge({ "htcgrid:agent" = var.agent_policy_arn }, var.handler_policy_arns)
  role       = aws_iam_role.agent.name
  policy_arn = each.value
}

resource "aws_eks_pod_identity_association" "agent" {
  region          = var.region
  cluster_name    = var.cluster_name
  namespace       = var.namespace
  service_account = var.service_account
  role_arn        = aws_iam_role.agent.arn
  tags            = local.tags
}

data "aws_iam_policy_document" "keda" {
  statement {
    sid       = "Depth"
    actions   = ["sqs:GetQueueAttributes"]
    resources = var.queue_arns
  }
}

resource "aws_iam_role" "keda" {
  for_each           = local.keda
  name               = "htcgrid-${var.name}-${var.region}-keda"
  description        = "KEDA looks how many messages grid ${var.name} has, to start the first agent"
  assume_role_policy = data.aws_iam_policy_document.pod_trust.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "keda" {
  for_each = local.keda
  name     = "depth"
  role     = aws_iam_role.keda[each.key].name
  policy   = data.aws_iam_policy_document.keda.json
}

resource "aws_eks_pod_identity_association" "keda" {
  for_each        = local.keda
  region          = var.region
  cluster_name    = var.cluster_name
  namespace       = each.value.namespace
  service_account = each.value.service_account
  role_arn        = aws_iam_role.keda[each.key].arn
  tags            = local.tags
}

resource "aws_ecr_repository" "agent" {
  for_each             = var.repository ? { "this" = true } : {}
  region               = var.region
  name                 = "htcgrid/${var.name}/agent"
  image_tag_mutability = "IMMUTABLE"
  tags                 = local.tags

  encryption_configuration {
    encryption_type = var.key_arn == null ? "AES256" : "KMS"
    kms_key         = var.key_arn
  }

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "agent" {
  for_each   = aws_ecr_repository.agent
  region     = var.region
  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Images that lost their tag, or never had one"
      selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
      action       = { type = "expire" }
    }]
  })
}
