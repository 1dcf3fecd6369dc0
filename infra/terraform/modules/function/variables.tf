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

variable "title" {
  description = "What the function is called within the grid: letters, digits and hyphens."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$", var.title))
    error_message = "Lower-case letters, digits and hyphens, with no hyphen at either end."
  }
}

variable "permissions" {
  description = "Path of the page beside the function's code that says its handler and what it may do."
  type        = string
}

variable "environment" {
  description = "Environment variables beside HTCGRID_URL, of those that the page of its permissions names."
  type        = map(string)
  default     = {}
}

variable "pool" {
  description = "The pool whose queues it takes work from; null for a function that does not."
  type        = string
  default     = null
}

variable "mapped_queue_arns" {
  description = "Queues that are mapped to it and are not the grid's, by a name of your own."
  type        = map(string)
  default     = {}
}

variable "mapped_stream_arns" {
  description = "Kinesis streams that are mapped to it, by a name of your own."
  type        = map(string)
  default     = {}
}

variable "failed_queue_arns" {
  description = "The queue to which AWS writes, in the function's name, what it did not manage; none for a function whose invocations are nobody's loss."
  type        = list(string)
  default     = []
}

variable "places" {
  description = "Where in S3 the tenant's vectors of events are read, results are written, and objects lie that rules make sessions of: ARNs of objects, as in arn:aws:s3:::BUCKET/PREFIX/*. The operator registers places and rules with the grid."
  type = object({
    events  = optional(set(string), [])
    results = optional(set(string), [])
    sources = optional(set(string), [])
  })
  default = {}
}

variable "policy_arns" {
  description = "Policies of the function beside its own, by a name of your own: what handlers need."
  type        = map(string)
  default     = {}
}

variable "memory_mb" {
  description = "Memory of the function, in MB; each 1,769 are a core."
  type        = number
  default     = 512
  validation {
    condition     = var.memory_mb >= 256 && var.memory_mb <= 10240
    error_message = "From 256 to 10,240 MB."
  }
}

variable "timeout_seconds" {
  description = "Seconds after which AWS ends an invocation."
  type        = number
  default     = 60
  validation {
    condition     = var.timeout_seconds >= 3 && var.timeout_seconds <= 900
    error_message = "From 3 to 900 seconds."
  }
}

variable "storage_mb" {
  description = "Room in the function's /tmp, in MB."
  type        = number
  default     = 512
  validation {
    condition     = var.storage_mb >= 512 && var.storage_mb <= 10240
    error_message = "From 512 to 10,240 MB."
  }
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
