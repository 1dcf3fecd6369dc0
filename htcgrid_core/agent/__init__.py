"""The agent: leases bundles, runs them in workers and commits outcomes."""
