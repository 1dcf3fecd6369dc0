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

variable "pools" {
  description = "Names of the grid's pools: up to 32 lower-case letters, digits and hyphens each."
  type        = set(string)
  default     = ["default"]
  validation {
    condition     = length(var.pools) > 0 && alltrue([for pool in var.pools : can(regex("^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$", pool))])
    error_message = "One pool or more, each of up to 32 lower-case letters, digits and hyphens, with no hyphen at either end."
  }
}

variable "signing_key" {
  description = "The secret that signs pickles: 32 random bytes or more in hexadecimal, as `openssl rand -hex 32` prints them. It is not kept in the state, and is written when signing_key_version changes; each apply asks for it, and ignores it otherwise."
  type        = string
  ephemeral   = true
  sensitive   = true
  validation {
    condition     = can(regex("^([0-9a-f]{2}){32,}$", var.signing_key))
    error_message = "The signing key is 32 bytes or more in lower-case hexadecimal: openssl rand -hex 32."
  }
}

variable "signing_key_version" {
  description = "Raise it by hand to write another signing key: what was signed with the one before is then refused."
  type        = number
  default     = 1
}

variable "agents" {
  description = "How many agents each pool may be scaled to: sessions are cut small enough for so many. The chart's maxReplicas."
  type        = number
  default     = 1
  validation {
    condition     = var.agents >= 1 && floor(var.agents) == var.agents
    error_message = "A whole number from 1 on."
  }
}

variable "lease_seconds" {
  description = "Seconds after which others may take the work of an agent that is silent."
  type        = number
  default     = 30
  validation {
    condition     = var.lease_seconds >= 1 && var.lease_seconds <= 3600
    error_message = "From 1 to 3600 seconds."
  }
}

variable "visibility_seconds" {
  description = "Seconds for which SQS hides a message from others than whom it gave it to, unless they say otherwise, which agents on nodes do. Where functions serve a pool, six times their timeout."
  type        = number
  default     = 30
  validation {
    condition     = var.visibility_seconds >= 30 && var.visibility_seconds <= 43200
    error_message = "From 30 seconds to 12 hours."
  }
}

variable "high_parameter_throughput" {
  description = "Whether SSM answers more than 40 reads of parameters a second, for which it asks by the call; a setting of the whole account and region. For more than some thousand agents that start at once."
  type        = bool
  default     = false
}

variable "destinations" {
  description = "ARNs of what sessions' ends may be told, beside webhooks; register them with htcgrid destinations add. With step_functions also states that wait: IAM knows no narrower place for them than all that have given a token."
  type = object({
    queues         = optional(set(string), [])
    topics         = optional(set(string), [])
    buses          = optional(set(string), [])
    step_functions = optional(bool, false)
  })
  default = {}
}

variable "retention" {
  description = "For how many days tenants' sessions are kept after their ends: of those that do not say, and at most; * is of tenants that are not named."
  type        = map(object({ default_days = optional(number), max_days = optional(number) }))
  default     = {}
  nullable    = false
  validation {
    condition     = alltrue(flatten([for rule in values(var.retention) : [for days in [rule.default_days, rule.max_days] : days == null ? true : days > 0 && days <= 36500]]))
    error_message = "Days are above 0, and 36,500 at most."
  }
}

variable "audit_days" {
  description = "Days for which entries of the audit are kept; longer, if their session is."
  type        = number
  default     = 400

  validation {
    condition     = var.audit_days >= 1 && var.audit_days <= 36500
    error_message = "The audit is kept for 1 to 36500 days."
  }
}

variable "cache_bytes" {
  description = "Bytes that the agents of a machine keep of what they fetched."
  type        = number
  default     = 8589934592
}

variable "customer_key" {
  description = "Whether table, queues, bucket and secret are encrypted with a KMS key of the grid's own (a dollar a month, and calls), or with AWS's keys."
  type        = bool
  default     = true
}

variable "warm_throughput" {
  description = "Reads and writes a second for which the table is ready before it has seen them. A new on-demand table takes 12,000 and 4,000; the value can only be raised."
  type = object({
    read_units_per_second  = optional(number, 12000)
    write_units_per_second = optional(number, 4000)
  })
  default = null
}

variable "max_throughput" {
  description = "Request units a second that the table may use at most, as a cap on cost; null for AWS's own limit."
  type = object({
    read_units  = number
    write_units = number
  })
  default = null
}

variable "point_in_time_recovery_days" {
  description = "Days to which the table can be taken back; 0 for none."
  type        = number
  default     = 7
  validation {
    condition     = var.point_in_time_recovery_days >= 0 && var.point_in_time_recovery_days <= 35
    error_message = "From 0 to 35 days."
  }
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the table, and Terraform a bucket that has something in it."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
