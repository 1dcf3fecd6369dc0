"""The AWS adapter: DynamoDB, SQS and S3, by boto3. The only package that knows AWS."""
