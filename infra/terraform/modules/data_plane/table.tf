# The table, with the keys and indexes of htcgrid_core/adapters/aws/dynamodb/schema.py.

locals {
  indexes = {
    "sessions-by-time" = { hash = "all", range = "at" }
    "sessions-live"    = { hash = "live", range = "pk" }
    "sessions-ended"   = { hash = "ended", range = "exp" }
    "sessions-by-end"  = { hash = "ended", range = "end" }
  }
  attributes = { pk = "S", sk = "S", all = "S", at = "N", live = "S", ended = "S", exp = "N", end = "N" }
}

resource "aws_dynamodb_table" "this" {
  region                      = var.region
  name                        = local.table
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = var.deletion_protection
  tags                        = local.tags

  dynamic "attribute" {
    for_each = local.attributes
    content {
      name = attribute.key
      type = attribute.value
    }
  }

  dynamic "global_secondary_index" {
    for_each = local.indexes
    content {
      name            = global_secondary_index.key
      projection_type = "KEYS_ONLY"
      key_schema {
        attribute_name = global_secondary_index.value.hash
        key_type       = "HASH"
      }
      key_schema {
        attribute_name = global_secondary_index.value.range
        key_type       = "RANGE"
      }
    }
  }

  ttl {
    enabled        = true
    attribute_name = "ttl"
  }

  point_in_time_recovery {
    enabled                 = var.point_in_time_recovery_days > 0
    recovery_period_in_days = var.point_in_time_recovery_days > 0 ? var.point_in_time_recovery_days : null
  }

  server_side_encryption {
    enabled     = var.customer_key
    kms_key_arn = local.key_arn
  }

  # The indexes hold sessions only, one entry each: what a new one takes is enough for them.
  dynamic "warm_throughput" {
    for_each = var.warm_throughput == null ? [] : [var.warm_throughput]
    content {
      read_units_per_second  = warm_throughput.value.read_units_per_second
      write_units_per_second = warm_throughput.value.write_units_per_second
    }
  }

  dynamic "on_demand_throughput" {
    for_each = var.max_throughput == null ? [] : [var.max_throughput]
    content {
      max_read_request_units  = on_demand_throughput.value.read_units
      max_write_request_units = on_demand_throughput.value.write_units
    }
  }
}
