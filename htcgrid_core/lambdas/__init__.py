"""The grid's Lambda functions: thin over clients and services; what each may do is in the ``.json`` beside it."""
