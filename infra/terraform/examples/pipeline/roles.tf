# The pipeline's role and one for each build. Nobody but `release` reads the key of the grid's API, and no build writes what
# the next one runs.

locals {
  services = { pipeline = "codepipeline", image = "codebuild", release = "codebuild" }
  objects  = "${aws_s3_bucket.artifacts.arn}/*"
  allowed = merge(
    {
      pipeline = [
        { actions = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"], resources = [local.objects] },
        { actions = ["codeconnections:UseConnection"], resources = [var.connection_arn] },
        {
          actions   = ["codebuild:BatchGetBuilds", "codebuild:StartBuild"]
          resources = [for project in aws_codebuild_project.this : project.arn]
        },
      ]
    },
    { for name, build in local.builds : name => concat(build.statements, [
      { actions = ["s3:GetObject", "s3:GetObjectVersion"], resources = [local.objects] },
      {
        actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        resources = ["${aws_cloudwatch_log_group.build[name].arn}:*"]
      },
    ]) }
  )
}

data "aws_iam_policy_document" "trust" {
  for_each = local.services

  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["${each.value}.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "this" {
  for_each = local.services

  dynamic "statement" {
    for_each = local.allowed[each.key]
    content {
      actions   = statement.value.actions
      resources = statement.value.resources
    }
  }
}

resource "aws_iam_role" "this" {
  for_each           = local.services
  name               = "${local.prefix}-${var.region}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust[each.key].json
  tags               = local.tags
}

resource "aws_iam_role_policy" "this" {
  for_each = local.services
  name     = each.key
  role     = aws_iam_role.this[each.key].name
  policy   = data.aws_iam_policy_document.this[each.key].json
}
