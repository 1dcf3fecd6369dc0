"""What Airflow 3.1 keeps elsewhere."""

from __future__ import annotations

try:
    from airflow.sdk import conf
    from airflow.sdk.exceptions import (
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowTaskTimeout,
        TaskDeferralError,
        TaskDeferralTimeout,
    )
except ImportError:
    from airflow.configuration import conf  # type: ignore[assignment] # the same options
    from airflow.exceptions import (  # type: ignore[attr-defined,no-redef] # names of 3.1
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowTaskTimeout,
        TaskDeferralError,
        TaskDeferralTimeout,
    )

__all__ = [
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowTaskTimeout",
    "TaskDeferralError",
    "TaskDeferralTimeout",
    "conf",
]
