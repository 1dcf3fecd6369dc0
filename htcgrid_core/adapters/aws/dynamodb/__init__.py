"""The session store on DynamoDB: sessions, bundles and outcomes in one table."""
