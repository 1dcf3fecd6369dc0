"""Commands that run a module of this package in another process, which finds it as the process that starts it did."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

# What a fresh interpreter finds by itself stays what it is: entries that only a script's sys.path has, of a vendored
# copy, come last, and only where the package is not found without them.
_RUN = """\
import sys
try:
    import htcgrid_core
except ModuleNotFoundError:
    sys.path += {path!r}
from {module} import main
main()"""


def command(module: str, python: str = sys.executable, path: Iterable[str] | None = None) -> list[str]:
    """The command whose arguments come behind it; nothing is imported from its folder.

    Args:
        module: of this package, or another release's; its ``main`` is called.
        path: where the package may be found; None for where this process has it from.
    """
    return [python, "-P", "-c", _RUN.format(module=module, path=_own_path() if path is None else list(path))]


def _own_path() -> list[str]:
    own = str(Path(__file__).absolute().parents[2])
    return list(dict.fromkeys([own, *(entry for entry in sys.path if isinstance(entry, str) and os.path.isabs(entry))]))
