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

variable "package" {
  description = "Path of the archive with the grid's Lambda functions: make lambda-zip."
  type        = string
  default     = "../../../../build/htcgrid-lambdas.zip"
}

variable "concurrency" {
  description = "How many invocations may run at the same time, for high and for normal priority each."
  type        = number
  default     = 100
}

variable "callers" {
  description = "Who may ask the REST API by IAM, and what for; none for no REST API."
  type        = list(object({ arn = string, scopes = set(string), tenants = set(string) }))
  default     = []
}

variable "emails" {
  description = "Who is told of alarms."
  type        = set(string)
  default     = []
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the table, and Terraform a bucket that has something in it. Apply with false before a destroy."
  type        = bool
  default     = true
}

variable "results_uri" {
  description = "Where the example of Step Functions writes its results, as in s3://BUCKET/PREFIX/; null for no example."
  type        = string
  default     = null
}

variable "event_patterns" {
  description = "Patterns of EventBridge, as JSON, whose events rules make sessions of, by a name of your own."
  type        = map(string)
  default     = {}
}
