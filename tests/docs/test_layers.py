"""The contracts of pyproject.toml on who may import whom hold, and the picture is drawn from the same layers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.docs.architecture import direct, imports, layers
from tools.docs.places import PACKAGE, REPOSITORY


def test_the_contracts_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-logo"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_package_has_a_layer() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert {name for row in layers() for name in row} == packages


def test_every_import_goes_down() -> None:
    depth = {name: number for number, row in enumerate(layers()) for name in row}
    upward = [
        f"{source} imports {target}"
        for source, targets in imports().items()
        for target in targets
        if source in depth and depth[source] >= depth[target]
    ]
    assert not upward


def test_an_arrow_that_others_imply_is_left_out() -> None:
    assert direct({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}
