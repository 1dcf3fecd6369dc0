"""Operators: submit a session, collect its results, cancel it."""

from htcgrid_airflow.operators.cancel import HTCGridCancelOperator
from htcgrid_airflow.operators.results import HTCGridResultsOperator
from htcgrid_airflow.operators.submit import HTCGridSubmitOperator

__all__ = ["HTCGridCancelOperator", "HTCGridResultsOperator", "HTCGridSubmitOperator"]
