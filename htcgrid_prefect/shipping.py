"""Where pickles of sessions find what stands for a flow's function in workers."""

from __future__ import annotations

from htcgrid_prefect.shared.header import flow_function as _not_here

__all__ = ["_not_here"]
