# What `aws://NAME` stands for: the same table, queues, bucket and parameters that `htcgrid aws bootstrap` makes, with
# encryption by a key of the grid's own, recovery and caps. Names are put together as bootstrap does it: no two grids, nor
# two pools, come by the same one.

data "aws_caller_identity" "this" {}

locals {
  account    = data.aws_caller_identity.this.account_id
  table      = "htcgrid-${var.name}"
  bucket     = "htcgrid-${var.name}-${local.account}-${var.region}"
  tags       = merge(var.tags, { "htcgrid:grid" = var.name })
  priorities = ["high", "normal", "low"]
  queues = { for pair in setproduct(var.pools, local.priorities) :
    "${pair[0]}_${pair[1]}" => { pool = pair[0], priority = pair[1] }
  }
  key_arn = var.customer_key ? aws_kms_key.this["this"].arn : null
}
