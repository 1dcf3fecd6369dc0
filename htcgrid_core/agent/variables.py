"""Environment variables that clients of the embedded grid look at, too, and so without loading workers."""

NATIVE_VARIABLE = "HTCGRID_NATIVE_PYTHON"  # 0: AWS's runtime client also for this Python's own version
PASS_MORE = "HTCGRID_WORKER_ENV"  # noqa: S105 - comma-separated names of more variables that handlers may see
