"""Triggers: wait for a session in the triggerer, or update an asset when one has ended."""

from htcgrid_airflow.triggers.asset import HTCGridSessionsEnded
from htcgrid_airflow.triggers.session import HTCGridSessionTrigger

__all__ = ["HTCGridSessionTrigger", "HTCGridSessionsEnded"]
