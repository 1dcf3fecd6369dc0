"""Where pickles of handlers find ``Context`` beside its public name, ``htcgrid_core.Context``."""

from __future__ import annotations

from htcgrid_core.agent.workers.context import Context as Context
