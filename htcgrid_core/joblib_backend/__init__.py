"""The joblib backend ``htcgrid``: importing this package registers it, for joblib and for what uses it.

::

    import htcgrid_core.joblib_backend

    with joblib.parallel_config(backend="htcgrid", url="local://"):
        results = joblib.Parallel()(joblib.delayed(price)(trade) for trade in trades)
"""

from __future__ import annotations

import joblib

from htcgrid_core.joblib_backend.backend import GridBackend

__all__ = ["GridBackend"]

joblib.register_parallel_backend("htcgrid", GridBackend)
