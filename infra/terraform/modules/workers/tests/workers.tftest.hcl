variables {
  name             = "book"
  region           = "eu-west-1"
  cluster_name     = "htcgrid-book"
  agent_policy_arn = "arn:aws:iam::123456789012:policy/agent"
  queue_arns       = ["arn:aws:sqs:eu-west-1:123456789012:htcgrid_book_default_high"]
}

run "agents_and_keda_have_roles_of_their_own" {
  command = apply
  assert {
    condition     = aws_eks_pod_identity_association.agent.role_arn != aws_eks_pod_identity_association.keda["this"].role_arn
    error_message = "KEDA must not be able to read sessions."
  }
}

run "without_keda_and_repository" {
  command = plan
  variables {
    keda       = null
    repository = false
  }
  assert {
    condition     = length(aws_iam_role.keda) == 0 && length(aws_ecr_repository.agent) == 0
    error_message = "What is not asked for is not made."
  }
}
