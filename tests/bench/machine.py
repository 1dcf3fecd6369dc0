"""What the numbers depend on: the machine, Python, and the versions of the engines."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import psutil

import htcgrid_core

BYTES_PER_GIB = 1024**3
PACKAGES = ("ray", "distributed", "celery", "redis")


def processor() -> str:
    """The processor's own name for itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def versions() -> dict[str, str]:
    """The versions of the engines that are installed."""
    found = {"htcgrid": htcgrid_core.__version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def describe() -> dict[str, object]:
    """Everything a reader needs to judge the numbers."""
    return {
        "processor": processor(),
        "cpus": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / BYTES_PER_GIB, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
    }
