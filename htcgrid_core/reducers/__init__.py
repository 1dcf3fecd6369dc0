"""Reducers: one value of many results, the same however they are grouped; partial ones are made where the tasks run."""

from htcgrid_core.reducers.base import Reducer as Reducer
from htcgrid_core.reducers.histogram import Histogram as Histogram
from htcgrid_core.reducers.histogram import HistogramCounts as HistogramCounts
from htcgrid_core.reducers.lists import Concat as Concat
from htcgrid_core.reducers.lists import Top as Top
from htcgrid_core.reducers.quantiles import Quantiles as Quantiles
from htcgrid_core.reducers.several import Several as Several
from htcgrid_core.reducers.sums import Count as Count
from htcgrid_core.reducers.sums import Mean as Mean
from htcgrid_core.reducers.sums import Sum as Sum
from htcgrid_core.reducers.sums import Variance as Variance

__all__ = [
    "Concat", "Count", "Histogram", "HistogramCounts", "Mean", "Quantiles", "Reducer", "Several", "Sum", "Top",
    "Variance",
]  # fmt: skip
