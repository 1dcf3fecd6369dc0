"""In the grid's workers: one call of a task, with Prefect's engine or without, and what is reported of it.

Importing this package does not import Prefect, whose settings must be in the environment before that. Pickles of
sessions find here what workers call, and pickled errors what they raise.
"""

from __future__ import annotations

from htcgrid_prefect.worker.calls import BareCall as BareCall
from htcgrid_prefect.worker.calls import EngineCall as EngineCall
from htcgrid_prefect.worker.calls import WorkerSetupFailed as WorkerSetupFailed
