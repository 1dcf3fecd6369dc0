# Roles of the control plane and of the nodes, and who administers the cluster.

data "aws_iam_policy_document" "cluster_trust" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]
    principals {
      type        = "Service"
      identifiers = ["eks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "node_trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "cluster" {
  name               = "${local.cluster}-${var.region}-cluster"
  description        = "The control plane of the cluster of grid ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.cluster_trust.json
  tags               = local.tags
}

resource "aws_iam_role_policy_attachment" "cluster" {
  for_each   = toset(local.policies)
  role       = aws_iam_role.cluster.name
  policy_arn = "${local.managed}/${each.key}"
}

resource "aws_iam_role" "node" {
  name               = "${local.cluster}-${var.region}-node"
  description        = "The nodes of the cluster of grid ${var.name}; pods have roles of their own"
  assume_role_policy = data.aws_iam_policy_document.node_trust.json
  tags               = local.tags
}

resource "aws_iam_role_policy_attachment" "node" {
  for_each   = toset(local.of_nodes)
  role       = aws_iam_role.node.name
  policy_arn = "${local.managed}/${each.key}"
}

# For the chart's own NodeClass, which names the nodes' role.
resource "aws_eks_access_entry" "node" {
  region        = var.region
  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_iam_role.node.arn
  type          = local.auto ? "EC2" : "EC2_LINUX"
  tags          = local.tags
}

resource "aws_eks_access_policy_association" "node" {
  for_each      = local.auto ? { "this" = true } : {}
  region        = var.region
  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.node.principal_arn
  policy_arn    = "arn:${data.aws_partition.this.partition}:eks::aws:cluster-access-policy/AmazonEKSAutoNodePolicy"
  access_scope {
    type = "cluster"
  }
}

resource "aws_eks_access_entry" "admin" {
  for_each      = var.admin_arns
  region        = var.region
  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.key
  tags          = local.tags
}

resource "aws_eks_access_policy_association" "admin" {
  for_each      = var.admin_arns
  region        = var.region
  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.admin[each.key].principal_arn
  policy_arn    = "arn:${data.aws_partition.this.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
  access_scope {
    type = "cluster"
  }
}
