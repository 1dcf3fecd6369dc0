"""How many threads the libraries of a worker begin: its slot's share of the cores, if nobody says otherwise.

Each of them begins one for every core of the machine by itself, in every worker: on as many slots as cores, their
threads wait for each other most of the time. These variables are read when a library is loaded, and what a session's
deployed function or its agent's environment says comes first.
"""

from __future__ import annotations

from collections.abc import Mapping

OPENMP = "OMP_NUM_THREADS"  # read by OpenMP and what is built on it: PyTorch, pyarrow's pool, scikit-learn, XGBoost
# They do as OpenMP is told where nothing else is said, so whoever sets that one has set these too.
AS_OPENMP = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
BY_THEMSELVES = (
    "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
    "NPROC",  # XLA, and so JAX
    "LOKY_MAX_CPU_COUNT",  # joblib, and so scikit-learn with n_jobs=-1: of processes and threads
    "SLURM_CPUS_ON_NODE",  # DuckDB, which has no variable of its own, takes it for the size of the machine
)  # fmt: skip
VARIABLES = (OPENMP, *AS_OPENMP, *BY_THEMSELVES)


def limited(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """An environment in which libraries begin ``threads`` threads, but for what it says of them already."""
    said = environment.get(OPENMP)
    names = BY_THEMSELVES if said else VARIABLES
    return {**dict.fromkeys(names, str(threads)), **environment}
