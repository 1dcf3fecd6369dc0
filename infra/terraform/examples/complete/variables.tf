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

variable "signing_key" {
  description = "The secret that signs pickles: openssl rand -hex 32."
  type        = string
  ephemeral   = true
  sensitive   = true
}

variable "admin_arns" {
  description = "IAM roles or users who administer the cluster."
  type        = set(string)
  default     = []
}

variable "emails" {
  description = "Who is told of alarms."
  type        = set(string)
  default     = []
}

variable "agents" {
  description = "How many agents each pool may be scaled to."
  type        = number
  default     = 3125
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the table and the cluster, and Terraform a bucket that has something in it. Apply with false before a destroy."
  type        = bool
  default     = true
}

variable "package" {
  description = "Path of the archive with the grid's Lambda functions: make lambda-zip."
  type        = string
  default     = "../../../../build/htcgrid-lambdas.zip"
}

variable "told_queues" {
  description = "ARNs of SQS queues that sessions' ends may be told."
  type        = set(string)
  default     = []
}

variable "results_uri" {
  description = "Where the example of Step Functions writes its results, as in s3://BUCKET/PREFIX/; null for no example."
  type        = string
  default     = null
}
