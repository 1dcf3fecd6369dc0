variables {
  name   = "book"
  region = "eu-west-1"
}

run "no_way_to_the_internet" {
  command = apply
  assert {
    condition     = length(output.private_subnet_ids) == 3 && length(aws_nat_gateway.this) == 0 && length(aws_internet_gateway.this) == 0
    error_message = "Nodes reach AWS by endpoints, and nothing else."
  }
}

run "with_one_in_each_zone" {
  command = plan
  variables {
    internet_egress = true
    zones           = 2
  }
  assert {
    condition     = length(aws_nat_gateway.this) == 2
    error_message = "A zone's failure stays its own."
  }
}
