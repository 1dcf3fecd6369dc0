"""In the grid's workers: one call of a task through Prefect's engine, and what it reports."""
