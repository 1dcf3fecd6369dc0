# A VPC whose nodes reach AWS without the internet: private subnets, and endpoints of the services that the grid uses.

data "aws_availability_zones" "these" {
  region = var.region
  state  = "available"
}

locals {
  zones     = slice(data.aws_availability_zones.these.names, 0, var.zones)
  bits      = 2 # a quarter of the range for each zone's nodes, and the last quarter for what is public
  private   = { for number, zone in local.zones : zone => cidrsubnet(var.cidr, local.bits, number) }
  public    = { for number, zone in local.zones : zone => cidrsubnet(cidrsubnet(var.cidr, local.bits, 3), 4, number) }
  tags      = merge(var.tags, { "htcgrid:grid" = var.name })
  egress    = var.internet_egress ? local.public : {}
  flow_logs = var.flow_log_days > 0 ? { "this" = true } : {}
}

resource "aws_vpc" "this" {
  region               = var.region
  cidr_block           = var.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = merge(local.tags, { Name = "htcgrid-${var.name}" })
}

# Nothing is to use what a VPC comes with: no rule is left in it.
resource "aws_default_security_group" "this" {
  region = var.region
  vpc_id = aws_vpc.this.id
  tags   = merge(local.tags, { Name = "htcgrid-${var.name}-unused" })
}

resource "aws_subnet" "private" {
  for_each          = local.private
  region            = var.region
  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value
  tags              = merge(local.tags, { Name = "htcgrid-${var.name}-private-${each.key}", "kubernetes.io/role/internal-elb" = "1" })
}

resource "aws_route_table" "private" {
  for_each = local.private
  region   = var.region
  vpc_id   = aws_vpc.this.id
  tags     = merge(local.tags, { Name = "htcgrid-${var.name}-private-${each.key}" })
}

resource "aws_route_table_association" "private" {
  for_each       = local.private
  region         = var.region
  subnet_id      = aws_subnet.private[each.key].id
  route_table_id = aws_route_table.private[each.key].id
}

# Within the VPC all is open; from outside only what answers a call that began inside, on ports that callers use.
resource "aws_network_acl" "private" {
  region     = var.region
  vpc_id     = aws_vpc.this.id
  subnet_ids = [for subnet in aws_subnet.private : subnet.id]
  tags       = merge(local.tags, { Name = "htcgrid-${var.name}-private" })

  ingress {
    rule_no    = 100
    protocol   = "-1"
    action     = "allow"
    cidr_block = var.cidr
    from_port  = 0
    to_port    = 0
  }
  ingress {
    rule_no    = 200
    protocol   = "tcp"
    action     = "allow"
    cidr_block = "0.0.0.0/0"
    from_port  = 1024
    to_port    = 65535
  }
  egress {
    rule_no    = 100
    protocol   = "-1"
    action     = "allow"
    cidr_block = var.cidr
    from_port  = 0
    to_port    = 0
  }
  egress {
    rule_no    = 200
    protocol   = "tcp"
    action     = "allow"
    cidr_block = "0.0.0.0/0"
    from_port  = 443
    to_port    = 443
  }
}

# S3 and DynamoDB by routes, which cost nothing.
resource "aws_vpc_endpoint" "gateway" {
  for_each          = toset(["dynamodb", "s3"])
  region            = var.region
  vpc_id            = aws_vpc.this.id
  vpc_endpoint_type = "Gateway"
  service_name      = "com.amazonaws.${var.region}.${each.key}"
  route_table_ids   = [for table in aws_route_table.private : table.id]
  tags              = merge(local.tags, { Name = "htcgrid-${var.name}-${each.key}" })
}

resource "aws_security_group" "endpoints" {
  region      = var.region
  name        = "htcgrid-${var.name}-endpoints"
  description = "HTTPS from the VPC to the interface endpoints of AWS services"
  vpc_id      = aws_vpc.this.id
  tags        = merge(local.tags, { Name = "htcgrid-${var.name}-endpoints" })
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  region            = var.region
  security_group_id = aws_security_group.endpoints.id
  description       = "HTTPS from the VPC"
  cidr_ipv4         = var.cidr
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = local.tags
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = var.interface_endpoints
  region              = var.region
  vpc_id              = aws_vpc.this.id
  vpc_endpoint_type   = "Interface"
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  subnet_ids          = [for subnet in aws_subnet.private : subnet.id]
  security_group_ids  = [aws_security_group.endpoints.id]
  private_dns_enabled = true
  tags                = merge(local.tags, { Name = "htcgrid-${var.name}-${each.key}" })
}
