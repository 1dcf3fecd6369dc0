"""Where users and pickles find ``run_session`` beside its public name, ``htcgrid_prefect.run_session``."""

from __future__ import annotations

from htcgrid_prefect.flow.sessions import SessionResults as SessionResults
from htcgrid_prefect.flow.sessions import arun_session as arun_session
from htcgrid_prefect.flow.sessions import run_session as run_session
