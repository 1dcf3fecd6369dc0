"""Where pickled results find Report."""

from __future__ import annotations

from htcgrid_prefect.shared.report import Report as Report
