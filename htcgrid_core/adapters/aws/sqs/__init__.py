"""The bundle queue on SQS: hints of bundles to agents, their acknowledgements and their dead letters."""
