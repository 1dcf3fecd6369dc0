"""The sections of the benchmark: each module has a ``run(subject, sizes, note)`` that returns metrics."""
