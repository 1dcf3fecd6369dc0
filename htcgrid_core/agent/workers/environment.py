"""What a worker sees of the world: its environment variables, its Python, its search path and its folder."""

from __future__ import annotations

import os
import sys
from typing import Any

from htcgrid_core.agent.variables import PASS_MORE
from htcgrid_core.agent.workers import lambda_environment, threads
from htcgrid_core.domain.function import Environment
from htcgrid_core.ports.worker import FunctionRef

# Handlers see these of the agent's environment variables, so never its credentials.
PASSED_VARIABLES = (
    "PATH", "HOME", "HTCGRID_HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "SSL_CERT_FILE", "XDG_CACHE_HOME", "MPLBACKEND",
    "NPROC", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
# By name: what begins like the interpreter's own need not be (PYTHON_KEYRING_..., or a token of a package index).
PYTHON_VARIABLES = (
    "PYTHONPATH", "PYTHONHOME", "PYTHONPLATLIBDIR", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONSAFEPATH",
    "PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX",
    "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONCOERCECLOCALE", "PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONASYNCIODEBUG",
    "PYTHONFAULTHANDLER", "PYTHONMALLOC", "PYTHONTRACEMALLOC", "PYTHONINTMAXSTRDIGITS", "PYTHONNODEBUGRANGES",
    "PYTHONPERFSUPPORT", "PYTHONPROFILEIMPORTTIME", "PYTHON_CPU_COUNT", "PYTHON_FROZEN_MODULES", "PYTHON_GIL",
    "PYTHON_JIT",
)  # fmt: skip
PASSED_PREFIXES = (
    "LC_", "OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "BLIS_", "VECLIB_", "NUMEXPR_", "NUMBA_", "RAYON_", "POLARS_",
    "TORCH_", "XLA_", "JAX_", "CUDA_", "LOKY_",
)  # fmt: skip
KEPT_PREFIXES = ("POLARS_CLOUD_",)  # which begins so too, but logs in somewhere
URL_VARIABLE = "HTCGRID_URL"  # of the grid that a client connects to where no URL is given


def worker_environment(function: FunctionRef | None = None, threads_each: int | None = None) -> dict[str, str]:
    """The environment of a worker process: its own grid, what is passed on, and what the function was deployed with.

    A deployed function finds what AWS documents beside its own variables, as on Lambda.

    Args:
        threads_each: that libraries may begin in a worker, where neither says so; None for as many as they like.
    """
    more = {name.strip() for name in os.environ.get(PASS_MORE, "").split(",")}
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_VARIABLES or name in PYTHON_VARIABLES or name in more or _is_a_librarys(name)
    }
    own = {URL_VARIABLE: function.grid.url} if function and function.grid.url else {}
    environment = {**own, **passed, **(_deployed(function) if function else {})}
    return environment if threads_each is None else threads.limited(environment, threads_each)


def _is_a_librarys(name: str) -> bool:
    return name.startswith(PASSED_PREFIXES) and not name.startswith(KEPT_PREFIXES)


def python_of(function: FunctionRef) -> Environment:
    """The Python that runs a function: its submitter's on this machine, else the agent's own."""
    return function.spec.function.environment or Environment(python=sys.executable, cwd=os.getcwd())


def surroundings(function: FunctionRef) -> tuple[Any, ...]:
    """Sessions for which this is equal may share a worker process.

    Those of two tenants never do, nor does one that asks for isolation with any other. A deployed function's worker is
    its version's alone: its environment says which that is, and libraries go by it (Powertools' keys of idempotency).
    """
    where, package = function.spec.function.environment, function.spec.function.package
    place = (where.python, where.path, where.cwd) if where else ()
    deployed = (package.function, package.version, *package.variables.items()) if package else ()
    alone = function.session_id if function.spec.isolation else ""
    return (function.spec.tenant, *place, function.spec.memory_mb, deployed, alone)


def _deployed(function: FunctionRef) -> dict[str, str]:
    package = function.spec.function.package
    if package is None:
        return {}
    return {**lambda_environment.unless_said(function), **package.variables, **lambda_environment.always(function)}
