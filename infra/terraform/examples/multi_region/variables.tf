variable "regions" {
  description = "The AWS regions, each of which gets a grid of this name."
  type        = set(string)
  default     = ["eu-central-1", "eu-west-1"]
}

variable "name" {
  description = "The grid's name, as in aws://NAME."
  type        = string
  default     = "book"
}

variable "signing_keys" {
  description = "By region, the secret that signs pickles there: openssl rand -hex 32 for each. What one region signed is refused by the others."
  type        = map(string)
  ephemeral   = true
  sensitive   = true
}

variable "admin_arns" {
  description = "IAM roles or users who administer the cluster."
  type        = set(string)
  default     = []
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the table and the cluster, and Terraform a bucket that has something in it. Apply with false before a destroy."
  type        = bool
  default     = true
}
