"""What is started for a runtime, and the environment variables that it finds."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from htcgrid_core.agent.workers.environment import worker_environment
from htcgrid_core.domain.function import EXEC_WRAPPER
from htcgrid_core.ports.worker import FunctionRef

MAX_CONCURRENCY = "AWS_LAMBDA_MAX_CONCURRENCY"  # for clients that have several invocations at once
INITIALIZATION, MANAGED = "AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances"  # which is where AWS has those
AGENT = "127.0.0.1"  # where it serves the Runtime API
NODE_WORKERS = "AWS_LAMBDA_NODEJS_WORKER_COUNT"  # threads of AWS's client for Node; by itself, eight for each core


def command(function: FunctionRef) -> tuple[str, ...]:
    """The program that speaks the Runtime API for a deployed function, behind the function's wrapper if it has one."""
    package, where = function.spec.function.package, function.spec.function.environment
    assert package is not None
    assert where is not None
    wrapper = package.variables.get(EXEC_WRAPPER)
    wrappers = (os.path.join(where.cwd, wrapper),) if wrapper else ()
    if not package.is_python:
        return (*wrappers, f"{where.cwd}/bootstrap")
    own = package.runtime == f"python{sys.version_info.major}.{sys.version_info.minor}"
    return (*wrappers, where.python if own else package.runtime, "-m", "awslambdaric", package.handler)


def environment(function: FunctionRef, address: str, threads_each: int | None = None) -> dict[str, str]:
    """What every worker of a deployed function gets, and where its runtime's client asks for tasks."""
    at_once = concurrency(function)
    found = worker_environment(function, threads_each)
    return {
        **({NODE_WORKERS: str(at_once)} if at_once > 1 else {}),
        **found,
        "AWS_LAMBDA_RUNTIME_API": address,
        **_without_proxy(found),
        **({MAX_CONCURRENCY: str(at_once), INITIALIZATION: MANAGED} if at_once > 1 else {}),
    }


def _without_proxy(found: Mapping[str, str]) -> dict[str, str]:
    """Hosts that are asked directly: those that the function names, and its agent."""
    either = found.get("no_proxy") or found.get("NO_PROXY") or ""  # most read the first, where both are there
    names = {"NO_PROXY": found.get("NO_PROXY") or either, **({"no_proxy": either} if "no_proxy" in found else {})}
    return {name: _with_agent(hosts) for name, hosts in names.items()}


def _with_agent(hosts: str) -> str:
    if hosts.strip() == "*":  # which means all of them only where it stands alone
        return hosts
    return ",".join(part for part in (hosts.strip().rstrip(","), AGENT) if part)


def concurrency(function: FunctionRef) -> int:
    """Invocations at once in one environment: one where each task has its own."""
    package = function.spec.function.package
    return 1 if package is None or function.spec.isolation == "task" else package.concurrency


def is_awss_client_for_python(function: FunctionRef) -> bool:
    """Whether that is what is started, which keeps its connections."""
    package = function.spec.function.package
    return package is not None and package.is_python
