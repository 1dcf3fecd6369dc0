variable "name" {
  description = "The grid's name, as in aws://NAME: up to 24 lower-case letters, digits and hyphens."
  type        = string
  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,22}[a-z0-9])?$", var.name))
    error_message = "The name has up to 24 lower-case letters, digits and hyphens; the first is a letter, the last no hyphen."
  }
}

variable "region" {
  description = "The AWS region of all that is made here."
  type        = string
}

variable "cluster_name" {
  description = "The EKS cluster, as the module cluster gives it."
  type        = string
}

variable "agent_policy_arn" {
  description = "What agents may do: data_plane's policy_arns.agent."
  type        = string
}

variable "queue_arns" {
  description = "Queues that KEDA looks at to start the first agents: data_plane's queue_arns."
  type        = list(string)
}

variable "namespace" {
  description = "Kubernetes namespace of the chart."
  type        = string
  default     = "htcgrid"
}

variable "service_account" {
  description = "The agents' service account: the chart's serviceAccount.name."
  type        = string
  default     = "htcgrid-agent"
}

variable "keda" {
  description = "KEDA's namespace and service account; null without KEDA."
  type = object({
    namespace       = optional(string, "keda")
    service_account = optional(string, "keda-operator")
  })
  default = {}
}

variable "repository" {
  description = "Whether to make an ECR repository for the agents' image."
  type        = bool
  default     = true
}

variable "key_arn" {
  description = "KMS key of the repository; null for AWS's own."
  type        = string
  default     = null
}

variable "handler_policy_arns" {
  description = "Further IAM policies by name, of AWS services that handlers themselves call."
  type        = map(string)
  default     = {}
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
