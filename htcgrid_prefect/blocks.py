"""Where users and pickles find ``HTCGrid`` beside its public name, ``htcgrid_prefect.HTCGrid``."""

from __future__ import annotations

from htcgrid_prefect.flow.blocks import HTCGrid as HTCGrid
