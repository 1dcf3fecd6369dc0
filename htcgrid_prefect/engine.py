"""Where pickles of sessions find Header."""

from __future__ import annotations

from htcgrid_prefect.shared.header import Header as Header
