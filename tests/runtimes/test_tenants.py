"""Handlers are told their tenant as Lambda tells it, and no worker serves two."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from htcgrid_core import connect
from htcgrid_core.agent.variables import NATIVE_VARIABLE
from tests.e2e.support import ended, fresh_grid

HANDLER = """
import os

SEEN = []

def handler(event, context):
    SEEN.append(context.tenant_id)
    return os.getpid(), context.tenant_id, SEEN, context.identity.cognito_identity_id if context.identity else None
"""


@pytest.mark.parametrize("native", [True, False], ids=["native", "awslambdaric"])
def test_a_worker_serves_one_tenant(native: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NATIVE_VARIABLE, "1" if native else "0")
    source = tmp_path / "source"
    source.mkdir()
    handler = HANDLER.replace("context.identity.cognito_identity_id if context.identity else None", "None")
    (source / "app.py").write_text(handler if native else HANDLER)
    served: defaultdict[int, set[str | None]] = defaultdict(set)
    with fresh_grid(tmp_path / "grid", slots=1) as url, connect(url) as grid:
        grid.deploy("app", source, handler="app.handler")
        for tenant in ("one", "other", "default", "one"):
            session = grid.submit("app", range(3), tenant=tenant)
            ended(session)
            for pid, told, seen, cognito in session.results():
                assert told == (None if tenant == "default" else tenant)
                assert set(seen) == {told}, "what another tenant's handlers keep in their modules is not here"
                assert cognito is None
                served[pid].add(told)
    assert len(served) >= 3
    assert all(len(tenants) == 1 for tenants in served.values())
