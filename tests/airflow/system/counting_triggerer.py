"""``airflow triggerer`` that writes a line for each call to a grid's store, and one whenever its event loop is late."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.__main__ import main

from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from tests.airflow.system.event_loop_lag import noted_in

CALLS, LATE = "STORE_CALLS", "LATE_LOOPS"  # name the files, in the environment


def counted(name: str, real: Callable[..., Any], calls: Path) -> Callable[..., Any]:
    """The same method, which leaves its name with each call."""

    @functools.wraps(real)
    def call(*args: Any, **kwargs: Any) -> Any:
        with calls.open("a") as file:
            file.write(f"{name}\n")
        return real(*args, **kwargs)

    return call


if __name__ == "__main__":
    for name in dir(SqliteStore):
        method = getattr(SqliteStore, name)
        if not name.startswith("_") and callable(method):
            setattr(SqliteStore, name, counted(name, method, Path(os.environ[CALLS])))
    noted_in(Path(os.environ[LATE]))
    sys.argv = ["airflow", "triggerer"]
    main()  # type: ignore[no-untyped-call] # Airflow's
