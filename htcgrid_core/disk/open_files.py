"""How many files a process may have open: each map keeps a descriptor, and many maps must not take all of them."""

from __future__ import annotations

import resource


def may_be_mapped(fd: int) -> bool:
    """Whether a map may keep a descriptor like this, the lowest that was free: half of them are left to all else."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most == resource.RLIM_INFINITY or fd < most // 2
