"""Sources and sinks, each against the real library or server; in an environment of their own, .venv-data."""
