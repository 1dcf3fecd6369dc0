# Only with internet_egress: a public subnet with a NAT gateway in each zone, so that a zone's failure stays its own.

resource "aws_internet_gateway" "this" {
  for_each = var.internet_egress ? { "this" = true } : {}
  region   = var.region
  vpc_id   = aws_vpc.this.id
  tags     = merge(local.tags, { Name = "htcgrid-${var.name}" })
}

resource "aws_subnet" "public" {
  for_each          = local.egress
  region            = var.region
  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value
  tags              = merge(local.tags, { Name = "htcgrid-${var.name}-public-${each.key}" })
}

resource "aws_route_table" "public" {
  for_each = var.internet_egress ? { "this" = true } : {}
  region   = var.region
  vpc_id   = aws_vpc.this.id
  tags     = merge(local.tags, { Name = "htcgrid-${var.name}-public" })
}

resource "aws_route" "public" {
  for_each               = aws_route_table.public
  region                 = var.region
  route_table_id         = each.value.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[each.key].id
}

resource "aws_route_table_association" "public" {
  for_each       = local.egress
  region         = var.region
  subnet_id      = aws_subnet.public[each.key].id
  route_table_id = aws_route_table.public["this"].id
}

resource "aws_eip" "nat" {
  for_each = local.egress
  region   = var.region
  domain   = "vpc"
  tags     = merge(local.tags, { Name = "htcgrid-${var.name}-${each.key}" })
}

resource "aws_nat_gateway" "this" {
  for_each      = local.egress
  region        = var.region
  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.public[each.key].id
  tags          = merge(local.tags, { Name = "htcgrid-${var.name}-${each.key}" })
  depends_on    = [aws_internet_gateway.this]
}

resource "aws_route" "private" {
  for_each               = local.egress
  region                 = var.region
  route_table_id         = aws_route_table.private[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[each.key].id
}
