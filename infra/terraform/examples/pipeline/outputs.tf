output "pipeline_arn" {
  description = "The pipeline."
  value       = aws_codepipeline.this.arn
}

output "release_role_arn" {
  description = "Whom the cluster has to let upgrade the chart: an access entry of EKS."
  value       = aws_iam_role.this["release"].arn
}

output "roll_back" {
  description = "How to roll back."
  value       = "aws codepipeline start-pipeline-execution --name ${aws_codepipeline.this.name} --variables name=ROLL_BACK_TO,value=VERSION"
}
