"""What the flow's process and the workers share.

Its classes are pickled into sessions, under the paths that workers of the release before load them from. Those modules
are imported here, since cloudpickle sends a class by value whose module is not loaded.
"""

from __future__ import annotations

import htcgrid_prefect.engine
import htcgrid_prefect.recorder
import htcgrid_prefect.shipping  # noqa: F401
