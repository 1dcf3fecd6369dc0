"""Functions that are deployed on AWS: kept in S3, fetched and unpacked once a machine, run by name and by version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core import Grid, InvalidInput, connect
from htcgrid_core.domain import limits
from htcgrid_core.services.sweep import sweep
from tests.aws.emulators import Account
from tests.aws.faulty_proxy import TroubledAws, troubled
from tests.aws.grids import CloudUnderTest, cloud
from tests.e2e.support import ended
from tests.planes import plane_of
from tests.runtimes.conftest import FUNCTIONS


@pytest.fixture
def wire(aws_account: Account) -> Iterator[TroubledAws]:
    """What goes to AWS, counted."""
    with troubled(aws_account.url) as aws:
        yield aws


@pytest.fixture
def counted(
    wire: TroubledAws, aws_account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CloudUnderTest]:
    """A grid whose every call goes over the wire."""
    with cloud(Account(wire.url, aws_account.id), tmp_path, monkeypatch, "default") as found:
        yield found


def fetched(wire: TroubledAws, kind: str) -> list[int]:
    """How often each blob of a kind was read."""
    return [count for (method, path), count in wire.objects.items() if method == "GET" and f"/{kind}/" in path]


def pricing(folder: Path, factor: int) -> Path:
    """A function's folder."""
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text(
        "import os\n\n\ndef handler(event, context):\n"
        f"    return [event * {factor}, context.function_version, os.environ['DESK']]\n"
    )
    return folder


@pytest.mark.slow
def test_by_name_and_by_version_fetched_once(counted: CloudUnderTest, wire: TroubledAws, tmp_path: Path) -> None:
    """By two agents of one machine, over several sessions."""
    with connect(counted.url) as grid:
        for factor in (2, 3):
            grid.deploy("pricing", pricing(tmp_path / "p", factor), handler="app.handler", environment={"DESK": "fx"})
        counted.start_agent()
        first = grid.submit("pricing:1", range(8))
        ended(first)
        assert list(first.results()) == [[2 * n, "1", "fx"] for n in range(8)]
        assert fetched(wire, "packages") == [1]
        counted.start_agent()
        for _ in range(2):
            latest, again = grid.submit("pricing", range(8)), grid.submit("pricing:1", range(8))
            assert ended(latest).state == ended(again).state == "COMPLETED"
            assert list(latest.results()) == [[3 * n, "2", "fx"] for n in range(8)]
        assert max(fetched(wire, "packages")) <= 2, "two agents that both need it at once may both fetch it"
        assert len(fetched(wire, "packages")) == 2


@pytest.mark.slow
def test_shared_inputs_are_fetched_once(counted: CloudUnderTest, wire: TroubledAws) -> None:
    with connect(counted.url) as grid:
        market = grid.put(list(range(50_000)))
        counted.start_agent()
        for _ in range(3):
            session = grid.submit("tests.e2e.handlers.size_of", [[market]] * 20)
            ended(session)
            assert list(session.results()) == [[50_000, "list"]] * 20
        assert fetched(wire, "shared") == [1]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["awslambdaric", "shell"])
def test_through_the_runtime_api(aws_cloud: CloudUnderTest, aws_grid: Grid, runtime: str) -> None:
    folder = FUNCTIONS / ("python" if runtime == "awslambdaric" else "shell")
    named = None if runtime == "awslambdaric" else "provided.al2023"
    aws_grid.deploy("app", folder, handler="app.handler", runtime=named, environment={"DESK": "rates"}, timeout=30)
    aws_cloud.start_agent(HTCGRID_NATIVE_PYTHON="0")
    session = aws_grid.submit("app", [{"n": n} for n in range(30)])
    assert ended(session).state == "COMPLETED"
    assert list(session.results()) == [{"n": n} for n in range(30)]
    told = aws_grid.submit("app", [{"how": "tell"}])
    ended(told)
    assert next(iter(told.results()))["request_id"] == f"{told.id}/0/1"


def test_what_nobody_uses_is_swept(
    aws_cloud: CloudUnderTest, aws_grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on the embedded grid: not what is deployed, and not what was used since."""
    removed = aws_grid.deploy("pricing", pricing(tmp_path / "p", 2), handler="app.handler")
    kept = aws_grid.deploy("pricing", pricing(tmp_path / "p", 3), handler="app.handler")
    market = aws_grid.put([1, 2, 3])
    assert aws_cloud.run("functions", "remove", "pricing:1").returncode == 0
    assert sweep(plane_of(aws_grid)).deleted == []
    monkeypatch.setattr(limits, "UNUSED_BLOB_SECONDS", -3600.0)  # as if a month had passed
    assert set(sweep(plane_of(aws_grid)).deleted) == {removed.blob, f"shared/{market.digest}"}
    assert plane_of(aws_grid).blobs.exists(kept.blob)
    with pytest.raises(InvalidInput, match="put it again"):
        aws_grid.submit("tests.e2e.handlers.double", [market])
    assert aws_grid.sessions() == []
