"""What AWS documents of the environment that a Lambda function's code finds, for workers of every kind.

https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
"""

from __future__ import annotations

import os
import re
import time

from htcgrid_core.agent.memory import available_mb
from htcgrid_core.domain.function import Package
from htcgrid_core.ports.worker import FunctionRef

REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
TIME_ZONE = ":UTC"
NO_REGION = "local"
_REGION = re.compile("[A-Za-z0-9-]+")  # of what a function says: the ARN is also sent as a header
NO_ACCOUNT = "000000000000"


def package_of(function: FunctionRef) -> Package:
    """What was deployed."""
    package = function.spec.function.package
    assert package is not None, "only deployed functions look like Lambda's"
    return package


def unless_said(function: FunctionRef) -> dict[str, str]:
    """Variables that a function's own replace: time zone and region, of which an embedded grid has none."""
    region = _region(function)
    return {"TZ": TIME_ZONE, **(dict.fromkeys(REGION_VARIABLES, region) if region else {})}


def always(function: FunctionRef) -> dict[str, str]:
    """Variables that say which function it is, and how it is run: those that no function may set."""
    package, where = package_of(function), function.spec.function.environment
    assert where is not None, "its package has a folder"
    day = time.strftime("%Y/%m/%d", time.gmtime())
    return {
        "AWS_LAMBDA_FUNCTION_NAME": package.function,
        "AWS_LAMBDA_FUNCTION_VERSION": str(package.version),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": memory_size(function),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/htcgrid/{package.function}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"{day}/[{package.version}]{os.urandom(16).hex()}",
        "LAMBDA_TASK_ROOT": where.cwd,
        "LAMBDA_RUNTIME_DIR": where.cwd,
        "_HANDLER": package.handler,
    }


def memory_size(function: FunctionRef) -> str:
    """MiB that its worker may use; of one without a limit, what this machine or container has."""
    return str(function.spec.memory_mb or available_mb())


def function_arn(function: FunctionRef) -> str:
    """An ARN as Lambda would write it; of no account, since there is none, and of no region that cannot be one."""
    package = package_of(function)
    region = _region(function)
    if not _REGION.fullmatch(region):
        region = NO_REGION
    return f"arn:aws:lambda:{region}:{NO_ACCOUNT}:function:{package.function}:{package.version}"


def _region(function: FunctionRef) -> str:
    variables = package_of(function).variables
    said = (variables[name] for name in REGION_VARIABLES if variables.get(name))
    return next(said, function.grid.region)
