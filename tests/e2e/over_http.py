"""The same tests through a server: grids on this machine, each served by a process of its own while its tests run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.gateway import opening
from htcgrid_core.gateway.protocol import Gateway
from htcgrid_core.local.address import parse_local
from tests.served import Server, serving

# Modules of tests that know a grid by its client alone. Those of them that CI runs over HTTP too come first.
CHOSEN = ("test_async", "test_cancel")
OVER_HTTP = (
    *CHOSEN, "test_bad_packages", "test_executor", "test_executor_contract", "test_executor_objects", "test_find_task",
    "test_isolation", "test_joblib", "test_joblib_sharing", "test_map_reduce", "test_misbehaving", "test_reducers",
    "test_retrying", "test_scikit_learn", "test_sessions", "test_submit", "test_threads", "test_worker_memory",
)  # fmt: skip
# Not so over HTTP, and why.
ONLY_HERE = {
    "test_a_value_at_risk_over_a_million_paths": "it takes a minute, and most of it is the tasks",
    "test_agents_that_cannot_be_started_any_more_fail_what_waits": "it breaks the gateway in its own process",
    "test_a_frame_of_a_hundred_megabytes_may_be_an_argument": "a server takes shared inputs of up to 64 MiB",
    "test_the_url_may_come_from_the_environment": "it looks at the URL of a grid on this machine",
    "test_a_session_is_cancelled_while_it_is_submitted": "a large vector is an upload, which is no session yet",
}

OPEN_HERE = opening.open_gateway


class Servers:
    """One for each grid that is asked for, by its folder."""

    def __init__(self) -> None:
        self._running: dict[Path, tuple[Server, contextlib.ExitStack]] = {}

    def of(self, url: str) -> Server:
        """The server of a grid on this machine."""
        folder = parse_local(url)[0].root
        if folder not in self._running:
            with contextlib.ExitStack() as stack:
                server = stack.enter_context(serving(url, folder.parent / f"{folder.name}-api" / "keys.json"))
                self._running[folder] = server, stack.pop_all()
        return self._running[folder][0]

    def end(self, folder: Path) -> None:
        """The grid is not needed any more."""
        if folder in self._running:
            self._running.pop(folder)[1].close()


SERVERS = Servers()


@contextlib.contextmanager
def connecting_over_http(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Meanwhile ``connect`` asks a server for whatever grid on this machine it is to connect to."""

    def open_gateway(url: str, **options: Any) -> Gateway:
        if not url.startswith("local:"):
            return OPEN_HERE(url, **options)
        server = SERVERS.of(url)
        gateway = OPEN_HERE(server.url, api_token=server.token, allow_pickle=True)
        gateway.plane = OPEN_HERE(url).plane  # type: ignore[attr-defined]  # for ``tests.planes.plane_of``
        return gateway

    with monkeypatch.context() as patch:
        patch.setattr(opening, "open_gateway", open_gateway)
        yield
