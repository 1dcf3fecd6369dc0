"""What holds where nobody says otherwise; nothing is imported here."""

from __future__ import annotations

SECTION = "htcgrid"  # of Airflow's configuration
DEFAULT_CONN_ID = "htcgrid_default"
DEFAULT_POLL_SECONDS = 5.0
DEFAULT_LOG_SECONDS = 10.0
DEFAULT_DEFER_SECONDS = 5.0
SETTLING_SECONDS = 3.0  # for a worker to exit and the scheduler to hear of it, on a machine with far too much to do
DEFAULT_RESUME_SECONDS = 5.0 + SETTLING_SECONDS  # after [workers] min_heartbeat_interval, as Airflow has it
DEFAULT_INLINE_BYTES = 1 << 20
