output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Private subnets, one a zone: what the module cluster takes."
  value       = [for zone in local.zones : aws_subnet.private[zone].id]
}

output "cidr" {
  description = "The VPC's range."
  value       = aws_vpc.this.cidr_block
}
