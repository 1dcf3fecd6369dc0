"""What a grid has in an account: made and removed with boto3, each idempotently; Terraform does it for production."""
