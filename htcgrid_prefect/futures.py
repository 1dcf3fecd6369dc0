"""Where users and pickles find ``HTCGridFuture`` beside its public name, ``htcgrid_prefect.HTCGridFuture``."""

from __future__ import annotations

from htcgrid_prefect.flow.futures import HTCGridFuture as HTCGridFuture
