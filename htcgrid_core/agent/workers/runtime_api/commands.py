"""What is started for a runtime, and the environment variables that it finds."""

from __future__ import annotations

import sys

from htcgrid_core.agent.workers.environment import worker_environment
from htcgrid_core.ports.worker import FunctionRef


def command(function: FunctionRef) -> tuple[str, ...]:
    """The program that speaks the Runtime API for a deployed function."""
    package, where = function.spec.function.package, function.spec.function.environment
    assert package is not None
    assert where is not None
    if package.runtime.startswith("provided"):
        return (f"{where.cwd}/bootstrap",)
    own = package.runtime == f"python{sys.version_info.major}.{sys.version_info.minor}"
    return (where.python if own else package.runtime, "-m", "awslambdaric", package.handler)


def environment(function: FunctionRef, address: str, threads_each: int | None = None) -> dict[str, str]:
    """The variables that AWS documents for runtimes, and those that every worker gets."""
    package, where = function.spec.function.package, function.spec.function.environment
    assert package is not None
    assert where is not None
    return {
        **worker_environment(function, threads_each),
        "AWS_LAMBDA_RUNTIME_API": address,
        "AWS_LAMBDA_FUNCTION_NAME": package.function,
        "AWS_LAMBDA_FUNCTION_VERSION": str(package.version),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.spec.memory_mb or 0),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/htcgrid/{package.function}",
        "AWS_LAMBDA_LOG_STREAM_NAME": str(package.version),
        "LAMBDA_TASK_ROOT": where.cwd,
        "LAMBDA_RUNTIME_DIR": where.cwd,
        "_HANDLER": package.handler,
        "NO_PROXY": "127.0.0.1",
    }
