"""Where users and pickles find ``HTCGridTaskRunner`` beside its public name, ``htcgrid_prefect.HTCGridTaskRunner``."""

from __future__ import annotations

from htcgrid_prefect.flow.task_runner import HTCGridTaskRunner as HTCGridTaskRunner
