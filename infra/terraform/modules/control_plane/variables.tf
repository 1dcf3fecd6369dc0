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

variable "key_arn" {
  description = "KMS key of the topic, as data_plane gives it; null for none."
  type        = string
  default     = null
}

variable "tenant" {
  description = "The one tenant for whom the functions submit, cancel and read: who may invoke them is its."
  type        = string
  default     = "default"
}

variable "reconcile_seconds" {
  description = "Seconds of each minute for which the reconciler ticks, every ten; 0 for one tick a minute, which is cheaper and finds lost work later."
  type        = number
  default     = 50
  validation {
    condition     = var.reconcile_seconds >= 0 && var.reconcile_seconds <= 50
    error_message = "From 0 to 50: a minute later comes the next."
  }
}

variable "submit_timeout_seconds" {
  description = "Seconds after which AWS ends an invocation that submits: a vector is read and written in that time, or goes on when it is tried again. A message of a queue that could not be submitted comes again after six times as long. Over HTTP the answer has 30 seconds in any case."
  type        = number
  default     = 900
  validation {
    condition     = var.submit_timeout_seconds >= 30 && var.submit_timeout_seconds <= 900
    error_message = "From 30 to 900 seconds."
  }
}

variable "results_timeout_seconds" {
  description = "Seconds after which AWS ends an invocation that reads results, or writes all of them to S3. Over HTTP the answer has 30 seconds in any case."
  type        = number
  default     = 900
  validation {
    condition     = var.results_timeout_seconds >= 30 && var.results_timeout_seconds <= 900
    error_message = "From 30 to 900 seconds."
  }
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

variable "api" {
  description = "An HTTP API in front of the functions; null for none. Callers sign with IAM, or bring a token of the issuer for one of the audiences."
  type = object({
    issuer              = optional(string)
    audiences           = optional(set(string), [])
    requests_per_second = optional(number, 50)
    burst               = optional(number, 100)
  })
  default = null
  validation {
    condition     = try(var.api.issuer, null) == null || length(try(var.api.audiences, [])) > 0
    error_message = "An issuer needs an audience, or tokens that were made for others would do."
  }
}

variable "rest_api" {
  description = "The REST API (docs/rest-api.md) as a function behind an HTTP API of its own; null for none. authorization says how requests prove who asks: IAM, by callers (ARNs of roles and users, or of an account's root for all of it, with their scopes and tenants), who may have a function_url too; JWT, by tokens of the issuer for one of the audiences or clients; KEYS, by bearer keys of htcgrid api-keys, whose file the operator puts into an SSM parameter that is made here, or into a secret that is there, by its ARN as keys_secret_arn, which is encrypted with the grid's key or with AWS's."
  type = object({
    authorization       = optional(string, "IAM")
    callers             = optional(list(object({ arn = string, scopes = set(string), tenants = set(string) })), [])
    function_url        = optional(bool, false)
    issuer              = optional(string)
    audiences           = optional(set(string), [])
    clients             = optional(set(string), [])
    keys_secret_arn     = optional(string)
    requests_per_second = optional(number, 50)
    burst               = optional(number, 100)
  })
  default = null
  validation {
    condition     = var.rest_api == null || contains(["IAM", "JWT", "KEYS"], try(var.rest_api.authorization, ""))
    error_message = "Requests prove who asks by IAM, JWT or KEYS."
  }
  validation {
    condition     = try(var.rest_api.authorization, "") != "IAM" || length(try(var.rest_api.callers, [])) > 0
    error_message = "By IAM nobody could ask: name callers, with their scopes and tenants."
  }
  validation {
    condition     = try(var.rest_api.authorization, "") != "JWT" || (try(var.rest_api.issuer, null) != null && length(setunion(try(var.rest_api.audiences, []), try(var.rest_api.clients, []))) > 0)
    error_message = "Tokens need an issuer, and an audience or a client, or those that were made for others would do."
  }
  validation {
    condition     = !try(var.rest_api.function_url, false) || try(var.rest_api.authorization, "") == "IAM"
    error_message = "A function's URL without IAM could be asked by everybody, as often as they like."
  }
  validation {
    condition     = try(var.rest_api.keys_secret_arn, null) == null || (try(var.rest_api.authorization, "") == "KEYS" && can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+-[A-Za-z0-9]{6}$", try(var.rest_api.keys_secret_arn, ""))))
    error_message = "A secret of keys goes with authorization KEYS, and is named by its whole ARN, with the six characters at its end."
  }
  validation {
    condition     = alltrue([for caller in try(var.rest_api.callers, []) : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(root|role/.+|user/.+)$", caller.arn)) && length(setsubtract(caller.scopes, ["read", "submit", "code", "operate", "hold"])) == 0 && length(caller.scopes) > 0 && length(caller.tenants) > 0])
    error_message = "A caller is a role, a user, or an account's root, with scopes (read, submit, code, operate, hold) and tenants."
  }
}

variable "submit_queue" {
  description = "Whether to make a queue whose messages are sessions to submit."
  type        = bool
  default     = false
}

variable "events" {
  description = "Whether to make a topic and an event bus for sessions' ends; register them with htcgrid destinations add."
  type        = bool
  default     = true
}

variable "rules" {
  description = "What brings the events that registered rules make sessions of: patterns of EventBridge's default bus (as JSON), queues and Kinesis streams, each by a name of your own; null for no such function. A queue's visibility timeout is six times submit_timeout_seconds or more."
  type = object({
    patterns    = optional(map(string), {})
    queue_arns  = optional(map(string), {})
    stream_arns = optional(map(string), {})
  })
  default = null
}

variable "step_functions_example" {
  description = "Where the state machine of example_dags/step_functions writes its results, as in s3://BUCKET/PREFIX/, a place that is registered for results; null for no state machine."
  type        = string
  default     = null
  validation {
    condition     = var.step_functions_example == null || can(regex("^s3://[a-z0-9.-]{3,63}/(.+/)?$", var.step_functions_example))
    error_message = "A place in S3 that ends with a slash, or nothing."
  }
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
