"""The engines by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.bench.engines.bare_relay import BareRelay
from tests.bench.engines.base import Engine
from tests.bench.engines.celery_tasks import CeleryTasks
from tests.bench.engines.dask_tasks import DaskTasks
from tests.bench.engines.grid import GridExecutor, GridMap, GridSubmit
from tests.bench.engines.loky import Loky
from tests.bench.engines.pool_imap import PoolImap
from tests.bench.engines.process_pool import ProcessPool
from tests.bench.engines.ray_tasks import RayTasks

HAND_BATCH_TASKS = 256

ENGINES: dict[str, Callable[[int], Engine]] = {
    "grid.submit": GridSubmit,
    "grid.map": GridMap,
    "grid.executor": GridExecutor,
    "bare relay": BareRelay,
    "ProcessPool": ProcessPool,
    "Pool.imap": PoolImap,
    "Pool.imap/256": partial(PoolImap, chunk_tasks=HAND_BATCH_TASKS),
    "loky": Loky,
    "Ray": RayTasks,
    "Dask": DaskTasks,
    "Celery": CeleryTasks,
}
