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

variable "subnet_ids" {
  description = "Private subnets in two zones or more."
  type        = list(string)
  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "EKS takes subnets in two zones or more."
  }
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes; null for EKS's newest."
  type        = string
  default     = null
}

variable "mode" {
  description = "Who runs the nodes: auto (EKS Auto Mode), or karpenter, which you install, with the role that is made here."
  type        = string
  default     = "auto"
  validation {
    condition     = contains(["auto", "karpenter"], var.mode)
    error_message = "auto or karpenter."
  }
}

variable "public_access_cidrs" {
  description = "From where the cluster's API may be reached over the internet; none by default, so that it is reached from the VPC only."
  type        = list(string)
  default     = []
  validation {
    condition     = !contains(var.public_access_cidrs, "0.0.0.0/0")
    error_message = "Not from everywhere: name the ranges."
  }
}

variable "admin_arns" {
  description = "IAM roles or users who administer the cluster."
  type        = set(string)
  default     = []
}

variable "control_plane_tier" {
  description = "Provisioned capacity of the control plane: standard, or tier-xl to tier-8xl for thousands of nodes at once."
  type        = string
  default     = "standard"
  validation {
    condition     = contains(["standard", "tier-xl", "tier-2xl", "tier-4xl", "tier-8xl"], var.control_plane_tier)
    error_message = "standard, tier-xl, tier-2xl, tier-4xl or tier-8xl."
  }
}

variable "scaling_seconds" {
  description = "How often the pods' autoscaler looks; less than 15 only with a provisioned control plane."
  type        = number
  default     = 15
  validation {
    condition     = var.scaling_seconds == 15 || (var.scaling_seconds >= 10 && var.scaling_seconds < 15 && var.control_plane_tier != "standard")
    error_message = "15, or from 10 with a control_plane_tier above standard."
  }
}

variable "log_days" {
  description = "Days for which logs are kept."
  type        = number
  default     = 30
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_days)
    error_message = "A number of days that CloudWatch Logs knows."
  }
}

variable "key_arn" {
  description = "KMS key that encrypts Kubernetes' secrets and the logs, as data_plane gives it; null for AWS's own."
  type        = string
  default     = null
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the cluster."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
