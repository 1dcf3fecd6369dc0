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

variable "table_name" {
  description = "The grid's table, as data_plane gives it."
  type        = string
}

variable "queue_names" {
  description = "The grid's queues by pool and priority, as data_plane gives them."
  type        = map(map(string))
}

variable "key_arn" {
  description = "KMS key of the topic; null for none."
  type        = string
  default     = null
}

variable "emails" {
  description = "Who is told of alarms; each has to confirm it once."
  type        = set(string)
  default     = []
}

variable "oldest_message_seconds" {
  description = "Age of a queue's oldest message from which on it alarms: longer than sessions usually wait."
  type        = number
  default     = 21600
  validation {
    condition     = var.oldest_message_seconds >= 60 && var.oldest_message_seconds < 1209600
    error_message = "From a minute to the 14 days for which messages are kept."
  }
}

variable "functions" {
  description = "The grid's functions and where they log, by a name of your own, as control_plane and function_agents give them."
  type = map(object({
    function_name  = string
    log_group_name = string
  }))
  default = {}
}

variable "failed_queue_names" {
  description = "Queues of what was to be submitted and was not, by a name of your own, as control_plane gives them."
  type        = map(string)
  default     = {}
}

variable "reconciler" {
  description = "Name of the function that looks after the grid every minute; null where agents do it."
  type        = string
  default     = null
}

variable "monthly_budget" {
  description = "US dollars a month for what is tagged as the grid's, of which 80 % and all of it are told; null for no budget. The tag htcgrid:grid must be activated for costs once in the account."
  type        = number
  default     = null
}

variable "prometheus" {
  description = "Whether to make a workspace of Managed Prometheus with rules over the agents' own metrics."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
