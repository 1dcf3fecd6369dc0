terraform {
  required_version = "~> 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.69"
    }
  }
}

provider "aws" {
  region = tolist(var.regions)[0] # each resource names its own
  default_tags {
    tags = { project = "htcgrid" }
  }
}
