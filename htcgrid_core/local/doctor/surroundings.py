"""The machine and the process: Python, this package, temporary files, environment variables."""

from __future__ import annotations

import os
import platform
import resource
import sys
import tempfile
from importlib import metadata

import htcgrid_core
from htcgrid_core.agent.cores import available_cores
from htcgrid_core.agent.variables import PASS_MORE
from htcgrid_core.agent.workers.environment import worker_environment
from htcgrid_core.local.doctor.finding import Findings, ok, problem, warning

OLDEST_PYTHON = (3, 11)
FEWEST_OPEN_FILES = 256
REQUIREMENTS = ("click", "cloudpickle", "pydantic", "rich")


def python() -> Findings:
    """The interpreter, the cores and the limit of open files."""
    text = f"Python {platform.python_version()} at {sys.executable}, {available_cores()} cores, {platform.platform()}"
    if sys.version_info < OLDEST_PYTHON:
        yield problem("python", text, f"use Python {'.'.join(map(str, OLDEST_PYTHON))} or later")
    else:
        yield ok("python", text)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < FEWEST_OPEN_FILES:
        text = f"a process may have {files} open files; an agent needs about 6 for each slot"
        yield warning("open files", text, f"raise the limit: ulimit -n {FEWEST_OPEN_FILES * 4}")


def package() -> Findings:
    """Versions of this package and what it needs."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in REQUIREMENTS)
    yield ok("htcgrid", f"htcgrid {htcgrid_core.__version__} ({versions})")


def temporary_files() -> Findings:
    """Workers write what tasks print into temporary files."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"x" * 65536)
            file.flush()
    except OSError as error:
        text = f"temporary files cannot be written: {error}"
        yield problem("temporary files", text, "make room, or name a writable folder in TMPDIR")
    else:
        yield ok("temporary files", tempfile.gettempdir())


def environment() -> Findings:
    """Which of this process's variables handlers would see."""
    names = sorted(worker_environment())
    wanted = {name.strip() for name in os.environ.get(PASS_MORE, "").split(",")} - {""}
    text = f"handlers see {', '.join(names)}; agents that run already pass on what they were started with"
    missing = sorted(wanted - set(names))
    if missing:
        advice = f"set them before the agents start, or take them out of {PASS_MORE}"
        yield warning("environment", f"{PASS_MORE} names {', '.join(missing)}, which are not set; {text}", advice)
    else:
        more = "" if wanted else f"; name others, separated by commas, in {PASS_MORE}"
        yield ok("environment", text + more)
