"""What the release before has pickled, and the names that it therefore has."""

from __future__ import annotations

import base64
import json
import pickletools
import subprocess
import sys
from pathlib import Path
from typing import Literal

Package = Literal["core", "prefect"]


def pickles_of(package: Package) -> dict[str, bytes]:
    """What it has written, by the names of samples.py."""
    written = json.loads(Path(__file__).with_name(f"{package}.json").read_text())
    return {name: base64.b64decode(text) for name, text in written.items()}


def names() -> set[str]:
    """Classes and functions of ours that it has: those in its pickles, and its public names."""
    found: set[str] = set()
    for pickles in (pickles_of("core"), pickles_of("prefect")):
        found |= {name.replace(".", ":") for name in pickles if name.startswith("htcgrid_")}
        found = found.union(*map(names_in, pickles.values()))
    return {name for name in found if name.startswith("htcgrid_")}


def names_in(pickled: bytes) -> set[str]:
    """The classes and functions that a pickle names, as ``module:name``; nothing of it is loaded."""
    found: set[str] = set()
    pushed: list[object] = []
    memo: list[object] = []
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name == "MEMOIZE":
            memo.append(pushed[-1])
        elif operation.name == "STACK_GLOBAL":
            found.add(f"{pushed[-2]}:{pushed[-1]}")
            pushed.append(None)
        elif operation.name in ("BINGET", "LONG_BINGET"):
            assert isinstance(argument, int)
            pushed.append(memo[argument])
        else:
            pushed.append(argument)
    return found


def names_pickled_by(module: str, name: str) -> set[str]:
    """What the pickle of a class names in a process that has imported nothing but the class's own file.

    cloudpickle sends a class by value, with names of cloudpickle's own, if it does not find it where it says it is.
    """
    script = f"import sys, cloudpickle, {module}; sys.stdout.buffer.write(cloudpickle.dumps({module}.{name}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    return names_in(done.stdout)
