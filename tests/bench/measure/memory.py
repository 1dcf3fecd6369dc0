"""Peak growth of this process's resident memory, read from the kernel's own high-water mark."""

from __future__ import annotations

import gc
from pathlib import Path
from types import TracebackType
from typing import Self

KIB_PER_MIB = 1024
RESET_PEAK = "5"  # what the kernel wants written to clear_refs to reset the high-water mark


def _status_kib(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise LookupError(field)


class MemoryMeter:
    """``with MemoryMeter() as meter: ...`` leaves the peak growth in ``meter.growth_mib``."""

    def __init__(self) -> None:
        """Nothing is measured yet."""
        self.growth_mib = 0.0
        self._before_kib = 0

    def __enter__(self) -> Self:
        """Forget the peak so far and note the present size."""
        gc.collect()
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
        self._before_kib = _status_kib("VmRSS")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Read the peak."""
        self.growth_mib = max(0, _status_kib("VmHWM") - self._before_kib) / KIB_PER_MIB
