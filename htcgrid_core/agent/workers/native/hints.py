"""What the text of some errors does not say: that a worker sees and may use less than whoever submits does."""

from __future__ import annotations

import os

from htcgrid_core.agent.workers.native import meter


def with_hint(text: str, error: BaseException, memory_mb: int) -> str:
    """An error's text, and what is behind it in a worker.

    Args:
        memory_mb: that the worker may use; 0 for no limit.
    """
    if isinstance(error, MemoryError) and memory_mb:
        used = f", of which {peak:,.0f} were in use at most" if (peak := meter.peak_mb()) else ""
        needed = f"it needed more than the {memory_mb:,} MiB that it had{used}"
        return f"{text or 'no memory'}: {needed}; raise memory_mb, or retry it in a larger pool"
    if isinstance(error, MemoryError) and not text:
        return "the worker got no more memory from its machine"
    if isinstance(error, ValueError) and text.endswith("read-only"):  # NumPy's
        return f"{text}: if it is what grid.put has stored, workers share it; change a copy of it (array.copy())"
    if isinstance(error, KeyError) and _is_of_environment(error):
        return (
            f"{text}: of its agent's variables a worker sees few; set this one, and name it in HTCGRID_WORKER_ENV, "
            "before the agents start (`htcgrid down` ends those that run)"
        )
    return text


def _is_of_environment(error: BaseException) -> bool:
    """Whether it was raised by ``os.environ[name]``."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_locals.get("self") is os.environ
