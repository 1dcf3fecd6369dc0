"""Telemetry: OpenTelemetry set up as the environment says, for clients and agents alike; imported only if it does."""
