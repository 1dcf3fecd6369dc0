# A pipeline of AWS's own for those who use a grid that is there: it builds the agent's image, has the agents run it, deploys
# a function, tries it, and moves its alias. The build specifications and what they call are in infra/pipelines.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}

locals {
  prefix    = "htcgrid-${var.name}-pipeline"
  account   = data.aws_caller_identity.this.account_id
  partition = data.aws_partition.this.partition
  tags      = { "htcgrid:grid" = var.name }
  builds = {
    image = {
      privileged = true # it runs Docker
      variables  = { REPOSITORY = var.repository_url }
      statements = [
        { actions = ["ecr:GetAuthorizationToken"], resources = ["*"] },
        {
          actions = [
            "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:GetDownloadUrlForLayer",
            "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
          ]
          resources = [var.repository_arn]
        },
      ]
    }
    release = {
      privileged = false
      variables  = { CLUSTER = var.cluster_name, HTCGRID_URL = var.grid_url }
      statements = [
        {
          actions   = ["eks:DescribeCluster"]
          resources = ["arn:${local.partition}:eks:${var.region}:${local.account}:cluster/${var.cluster_name}"]
        },
        { actions = ["secretsmanager:GetSecretValue"], resources = [var.api_token_secret_arn] },
      ]
    }
  }
}

resource "aws_s3_bucket" "artifacts" {
  bucket        = "${local.prefix}-${local.account}-${var.region}"
  region        = var.region
  force_destroy = !var.deletion_protection
  tags          = local.tags
}

resource "aws_s3_bucket_public_access_block" "artifacts" {
  bucket                  = aws_s3_bucket.artifacts.id
  region                  = var.region
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id
  region = var.region

  rule {
    id     = "artifacts"
    status = "Enabled"
    filter {}
    expiration {
      days = 30
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_cloudwatch_log_group" "build" {
  for_each          = local.builds
  name              = "/htcgrid/${var.name}/pipeline/${each.key}"
  region            = var.region
  retention_in_days = 30
  tags              = local.tags
}

resource "aws_codebuild_project" "this" {
  for_each       = local.builds
  name           = "${local.prefix}-${each.key}"
  region         = var.region
  service_role   = aws_iam_role.this[each.key].arn
  build_timeout  = 30
  queued_timeout = 60
  tags           = local.tags

  artifacts {
    type = "CODEPIPELINE"
  }

  source {
    type      = "CODEPIPELINE"
    buildspec = "infra/pipelines/buildspec-${each.key}.yml"
  }

  environment {
    type            = "LINUX_CONTAINER"
    compute_type    = "BUILD_GENERAL1_SMALL"
    image           = var.build_image
    privileged_mode = each.value.privileged

    dynamic "environment_variable" {
      for_each = each.value.variables
      content {
        name  = environment_variable.key
        value = environment_variable.value
      }
    }

    dynamic "environment_variable" {
      for_each = each.key == "release" ? ["HTCGRID_API_TOKEN"] : []
      content {
        name  = environment_variable.value
        type  = "SECRETS_MANAGER"
        value = var.api_token_secret_arn
      }
    }
  }

  logs_config {
    cloudwatch_logs {
      group_name = aws_cloudwatch_log_group.build[each.key].name
    }
  }
}

resource "aws_codepipeline" "this" {
  name           = local.prefix
  region         = var.region
  role_arn       = aws_iam_role.this["pipeline"].arn
  pipeline_type  = "V2"
  execution_mode = "QUEUED"
  tags           = local.tags

  variable {
    name          = "ROLL_BACK_TO"
    default_value = "none"
    description   = "A version of the function to which the alias leads again, instead of a release."
  }

  artifact_store {
    type     = "S3"
    location = aws_s3_bucket.artifacts.bucket
  }

  stage {
    name = "Source"
    action {
      name             = "Source"
      category         = "Source"
      owner            = "AWS"
      provider         = "CodeStarSourceConnection"
      version          = "1"
      output_artifacts = ["source"]
      configuration = {
        ConnectionArn    = var.connection_arn
        FullRepositoryId = var.source_repository
        BranchName       = var.branch
      }
    }
  }

  stage {
    name = "Image"
    action {
      name            = "Image"
      category        = "Build"
      owner           = "AWS"
      provider        = "CodeBuild"
      version         = "1"
      namespace       = "image"
      input_artifacts = ["source"]
      configuration = {
        ProjectName = aws_codebuild_project.this["image"].name
        EnvironmentVariables = jsonencode([
          { name = "ROLL_BACK_TO", value = "#{variables.ROLL_BACK_TO}", type = "PLAINTEXT" },
        ])
      }
    }
  }

  stage {
    name = "Release"
    action {
      name      = "Approval"
      category  = "Approval"
      owner     = "AWS"
      provider  = "Manual"
      version   = "1"
      run_order = 1
    }
    action {
      name            = "Release"
      category        = "Build"
      owner           = "AWS"
      provider        = "CodeBuild"
      version         = "1"
      run_order       = 2
      input_artifacts = ["source"]
      configuration = {
        ProjectName = aws_codebuild_project.this["release"].name
        EnvironmentVariables = jsonencode([
          { name = "DIGEST", value = "#{image.DIGEST}", type = "PLAINTEXT" },
          { name = "ROLL_BACK_TO", value = "#{variables.ROLL_BACK_TO}", type = "PLAINTEXT" },
        ])
      }
    }
  }
}
