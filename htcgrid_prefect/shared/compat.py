"""What is used of Prefect beyond its documented interface, but for the worker's, in one place."""

from __future__ import annotations

from prefect._flow_run_suspension import raise_if_flow_run_suspension_requested
from prefect._internal.result_records import ResultRecord, ResultRecordMetadata
from prefect._internal.uuid7 import uuid7 as new_run_id
from prefect.context import _deployment_id as current_deployment_id
from prefect.context import _deployment_parameters as current_deployment_parameters

try:
    from prefect.results import _get_default_persist_result as default_persist_result
except ImportError:  # an older Prefect, for which a default storage says nothing of that
    from prefect.results import should_persist_result as default_persist_result

__all__ = [
    "ResultRecord",
    "ResultRecordMetadata",
    "current_deployment_id",
    "current_deployment_parameters",
    "default_persist_result",
    "new_run_id",
    "raise_if_flow_run_suspension_requested",
]
