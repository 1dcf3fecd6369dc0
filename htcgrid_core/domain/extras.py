"""How to install what this package can do without: there is no release on a package index yet."""

from __future__ import annotations

_EXTRAS = {
    **dict.fromkeys(("boto3", "botocore", "prometheus_client", "structlog"), "aws"),
    **dict.fromkeys(("httptools", "jwt", "starlette", "uvicorn", "uvloop"), "api"),
    "confluent_kafka": "kafka",
    "kubernetes": "k8s",
    "opentelemetry": "otel",
}


def how_to_install(extra: str) -> str:
    """What to do for the optional dependencies that are called ``extra``, as the README says it."""
    return f'`pip install ".[{extra}]"` in a checkout of htcgrid'


def what_is_missing(error: ImportError) -> str:
    """Which optional dependency could not be imported, and how to install it; empty if it is none."""
    module = (error.name or "").partition(".")[0]
    return f"needs {module}: {how_to_install(_EXTRAS[module])}" if module in _EXTRAS else ""
