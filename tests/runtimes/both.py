"""Two grids side by side, with native workers and with AWS's client for Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, RetryPolicy, Session, connect
from htcgrid_core.agent.variables import NATIVE_VARIABLE
from tests.e2e.support import ended, fresh_grid

PROBE = Path(__file__).parent / "functions" / "probe"
KINDS = {"native": "1", "awslambdaric": "0"}
# Of whoever starts the agents, none of which handlers are to find.
SURROUNDINGS = {
    "AWS_SECRET_ACCESS_KEY": "not for handlers",
    "AWS_REGION": "not-the-grids",
    "TZ": "Asia/Tokyo",
    "TRACEPARENT": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "TRACESTATE": "vendor=1",
}
ONCE = RetryPolicy(max_attempts=1)


@dataclass(frozen=True)
class Both:
    """Two grids with the same functions, whose workers are of one kind each."""

    grids: dict[str, Grid]

    def deploy(self, name: str, folder: Path, handler: str, **options: Any) -> None:
        """Deploy a function on both."""
        for grid in self.grids.values():
            grid.deploy(name, folder, handler=handler, timeout=30, **options)

    def sessions(self, function: str, *events: Any, **options: Any) -> dict[str, Session]:
        """The same session on both, once it has ended."""
        begun = {kind: grid.submit(function, events, retry=ONCE, **options) for kind, grid in self.grids.items()}
        for session in begun.values():
            ended(session)
        return begun

    def results(self, function: str, *events: Any, **options: Any) -> dict[str, list[Any]]:
        """What the handlers returned on both."""
        return {kind: list(done.results()) for kind, done in self.sessions(function, *events, **options).items()}


@contextmanager
def both_kinds(folder: Path, slots: int = 2) -> Iterator[Both]:
    """Grids below a folder."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        for name, value in SURROUNDINGS.items():
            patch.setenv(name, value)
        both = Both({})
        for kind, native in KINDS.items():
            patch.setenv(NATIVE_VARIABLE, native)
            url = stack.enter_context(fresh_grid(folder / kind, slots=slots, idle=300))
            both.grids[kind] = stack.enter_context(connect(url))
            both.grids[kind].submit("operator.is_", [1], name="its agents have this environment").wait()
        yield both
