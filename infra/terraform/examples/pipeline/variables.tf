variable "region" {
  description = "The AWS region."
  type        = string
  default     = "eu-west-1"
}

variable "name" {
  description = "The grid's name, as in aws://NAME."
  type        = string
  default     = "book"
}

variable "grid_url" {
  description = "A server of the grid, as in https://grid.example."
  type        = string
  default     = "https://grid.example"

  validation {
    condition     = startswith(var.grid_url, "https://")
    error_message = "A token goes there: https."
  }
}

variable "api_token_secret_arn" {
  description = "The secret of Secrets Manager with a key of that server, of the scopes code and submit."
  type        = string
  default     = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:htcgrid-api-token-a1b2c3"
}

variable "connection_arn" {
  description = "The connection to the repository's host, made and confirmed in the console."
  type        = string
  default     = "arn:aws:codeconnections:eu-west-1:123456789012:connection/aEXAMPLE-8aad-4d5d-8878-dfcab0bc441f"
}

variable "source_repository" {
  description = "OWNER/NAME there."
  type        = string
  default     = "desk/grid"
}

variable "branch" {
  description = "Whose pushes are released."
  type        = string
  default     = "main"
}

variable "cluster_name" {
  description = "The EKS cluster with the agents: an output of the module cluster. The role `release` needs an access entry there."
  type        = string
  default     = "htcgrid-book"
}

variable "repository_url" {
  description = "The image's repository: an output of the module workers."
  type        = string
  default     = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/htcgrid-book"
}

variable "repository_arn" {
  description = "Its ARN."
  type        = string
  default     = "arn:aws:ecr:eu-west-1:123456789012:repository/htcgrid-book"
}

variable "build_image" {
  description = "CodeBuild's image, with Docker, helm, kubectl, curl and Python."
  type        = string
  default     = "aws/codebuild/amazonlinux-x86_64-standard:5.0"
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete a bucket of artifacts that has something in it."
  type        = bool
  default     = true
}
