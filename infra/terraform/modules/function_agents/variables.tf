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

variable "grid" {
  description = "The grid, as data_plane gives it."
  type = object({
    url                = string
    parameter_arn      = string
    secret_arn         = string
    table_arn          = string
    bucket_arn         = string
    queue_arns         = map(map(string))
    visibility_seconds = number
    key_arn            = string
    destinations = object({
      queues         = set(string)
      topics         = set(string)
      buses          = set(string)
      step_functions = bool
    })
  })
}

variable "package" {
  description = "Path of the archive with the grid's Lambda functions: make lambda-zip."
  type        = string
}

variable "runtime" {
  description = "Lambda's runtime: the Python for which the package was made."
  type        = string
  default     = "python3.12"
  validation {
    condition     = can(regex("^python3\\.1[1-4]$", var.runtime))
    error_message = "Python 3.11 to 3.14."
  }
}

variable "architecture" {
  description = "The machine for which the package was made: arm64 or x86_64."
  type        = string
  default     = "arm64"
  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "Either arm64 or x86_64."
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

variable "pool" {
  description = "The pool that these functions serve, and nobody else does: one tenant's alone, since messages of others count a receive each time they are left alone, and end as dead letters."
  type        = string
  default     = "default"
}

variable "tenant" {
  description = "The one tenant whose sessions they run, and the only one that submits to the pool: their handlers share the sandbox, its network and its role."
  type        = string
  default     = "default"
}

variable "concurrency" {
  description = "Invocations at the same time for each priority: the pool's size. Each takes as many tasks as it has cores."
  type = object({
    high   = number
    normal = number
    low    = number
  })
  default = { high = 10, normal = 10, low = 2 }
  validation {
    condition     = alltrue([for count in values(var.concurrency) : count >= 2 && count <= 1000 && floor(count) == count])
    error_message = "AWS takes from 2 to 1,000 for each."
  }
}

variable "memory_mb" {
  description = "Memory of the function, in MB; each 1,769 are a core, and run a task."
  type        = number
  default     = 1769
}

variable "timeout_seconds" {
  description = "Seconds after which AWS ends an invocation; a task may take 60 % of it. The queues' visibility timeout is six times as long: data_plane's visibility_seconds."
  type        = number
  default     = 900
}

variable "storage_mb" {
  description = "Room in the function's /tmp, in MB: for packages, functions and shared inputs."
  type        = number
  default     = 2048
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
