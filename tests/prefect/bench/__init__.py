"""HTCGridTaskRunner beside Prefect's own runners, and those for Dask and Ray: ``make bench-prefect``."""
