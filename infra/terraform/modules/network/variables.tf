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

variable "cidr" {
  description = "IPv4 range of the VPC. A /16 has room for some 3,000 nodes with prefixes for their pods."
  type        = string
  default     = "10.0.0.0/16"
  validation {
    condition     = can(cidrhost(var.cidr, 0)) && try(tonumber(split("/", var.cidr)[1]) <= 22, false)
    error_message = "The range is an IPv4 CIDR block of /22 or larger."
  }
}

variable "zones" {
  description = "How many availability zones to use."
  type        = number
  default     = 3
  validation {
    condition     = var.zones >= 2 && var.zones <= 3
    error_message = "Two or three zones."
  }
}

variable "interface_endpoints" {
  description = "AWS services reached by interface endpoints, each some 7 dollars a month and zone. Empty only with internet_egress."
  type        = set(string)
  default     = ["ec2", "ecr.api", "ecr.dkr", "eks", "eks-auth", "kms", "logs", "sqs", "ssm", "sts"]
}

variable "internet_egress" {
  description = "Whether private subnets reach the internet through a NAT gateway in each zone: for packages and images from elsewhere."
  type        = bool
  default     = false
}

variable "flow_log_days" {
  description = "Days for which flow logs are kept; 0 for no flow logs."
  type        = number
  default     = 30
  validation {
    condition     = contains([0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.flow_log_days)
    error_message = "A number of days that CloudWatch Logs knows, or 0."
  }
}

variable "key_arn" {
  description = "ARN of the KMS key of the flow logs; null for CloudWatch's own."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
