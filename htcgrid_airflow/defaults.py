"""What holds where nobody says otherwise; nothing is imported here."""

from __future__ import annotations

SECTION = "htcgrid"  # of Airflow's configuration
DEFAULT_CONN_ID = "htcgrid_default"
DEFAULT_POLL_SECONDS = 5.0
DEFAULT_LOG_SECONDS = 10.0
DEFAULT_DEFER_SECONDS = 5.0
DEFAULT_RESUME_SECONDS = 10.0
DEFAULT_INLINE_BYTES = 1 << 20
