"""An agent as operators see it: the pages of a real one, on a grid that works and on one in trouble."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core import Grid, RetryPolicy
from htcgrid_core.adapters.aws.dynamodb.schema import create_table
from htcgrid_core.cloud.address import Address
from htcgrid_core.cloud.bootstrap import bootstrap
from htcgrid_core.domain import metrics
from htcgrid_core.domain.metrics import CATALOGUE, OTHER
from tests.aws.emulators import REGION
from tests.aws.faulty_proxy import TroubledAws, troubled
from tests.aws.grids import NAME, CloudUnderTest, settings_of
from tests.aws.pages import Pages
from tests.e2e.support import ended, eventually

FAIL_ODD, GATE, DOUBLE = (f"tests.e2e.handlers.{name}" for name in ("fail_odd", "gate", "double"))
TABLE = f"htcgrid-{NAME}"
SQS_COUNTS = {
    (metrics.QUEUE_MESSAGES.name, (("queue", queue), ("state", state)))
    for queue in ("high", "normal", "low", "dead")
    for state in ("waiting", "hidden", "delayed")
}


@pytest.fixture
def pages(aws_cloud: CloudUnderTest, tmp_path: Path) -> Pages:
    """Of a fresh agent with two slots."""
    aws_cloud.start_agent("--health", "0", "--json")
    return Pages(tmp_path / "agent-0.log")


@pytest.fixture
def trouble(aws_cloud: CloudUnderTest) -> Iterator[TroubledAws]:
    """A proxy between agents and the emulator."""
    with troubled(aws_cloud.account.url) as aws:
        yield aws


def start_behind(trouble: TroubledAws, cloud: CloudUnderTest, folder: Path, lease_seconds: int = 3) -> Pages:
    """An agent that reaches AWS through the proxy."""
    url = f"aws://{NAME}?region={REGION}&endpoint={trouble.url}"
    cloud.start_agent(
        "--url", url, "--health", "0", "--json", AWS_ENDPOINT_URL=trouble.url, HTCGRID_LEASE_SECONDS=str(lease_seconds)
    )
    return Pages(folder / "agent-0.log")


def test_an_agent_that_works(aws_grid: Grid, pages: Pages) -> None:
    eventually(pages.is_ready, "the agent is ready")
    assert pages.get("/healthz") == (200, "ok\n")
    assert pages.get("/")[0] == 404
    ended(aws_grid.submit(FAIL_ODD, range(10), retry=RetryPolicy(max_attempts=2, backoff_base_seconds=0.05)))

    def told() -> bool:
        return pages.value(metrics.TASKS, outcome="completed") == 5

    eventually(told, "all outcomes are counted")
    assert pages.value(metrics.TASKS, outcome="failed") == 5
    assert pages.value(metrics.TASKS, outcome="retried") == 5
    assert pages.value(metrics.SLOTS) == 2
    assert pages.value(metrics.READY) == 1
    assert pages.value(metrics.BREAKER_OPEN, of="grid") == 0
    assert pages.value(metrics.CLAIMS, answer="granted") >= 1
    assert pages.value(metrics.COMMITS) >= 2
    assert pages.value(metrics.HINTS) >= 2
    assert pages.value(metrics.WORKERS_STARTED, kind="native") >= 1
    series = pages.series()
    assert series["htcgrid_task_seconds_count", ()] == 10
    assert series["htcgrid_queue_wait_seconds_count", ()] >= 2
    eventually(lambda: pages.value(metrics.RECONCILER_TICKS) >= 1, "the reconciler had a tick")
    eventually(lambda: pages.series().keys() >= SQS_COUNTS, "SQS's own counts are shown")
    assert pages.value(metrics.AWS_CALLS, operation="TransactWriteItems", answer="ok") >= 1


def test_an_agent_hears_of_how_many_there_may_be(aws_cloud: CloudUnderTest, pages: Pages) -> None:
    """By the grid's parameter, also when an operator has changed it while the agent runs."""
    eventually(lambda: pages.value(metrics.AGENTS_MOST) == 1, "the parameter's number is shown")
    bootstrap(Address(NAME, settings_of(aws_cloud.account)), ["default"], agents=7)
    eventually(lambda: pages.value(metrics.AGENTS_MOST) == 7, "the new one is")


def test_every_series_is_in_the_catalogue(aws_grid: Grid, pages: Pages) -> None:
    """Also AWS's operations: none that an agent uses goes by the name of other."""
    ended(aws_grid.submit(DOUBLE, range(10)))
    eventually(lambda: pages.value(metrics.RECONCILER_TICKS) >= 1, "the reconciler had a tick")
    known = {metric.name: metric for metric in CATALOGUE}
    seen = 0
    for name, labels in pages.series():
        base = name if name in known else name.rpartition("_")[0]
        if not base.startswith("htcgrid_"):
            continue
        seen += 1
        allowed = {**known[base].labels, **({"le": None} if name.endswith("_bucket") else {})}
        for label, value in labels:
            values = allowed[label]
            assert values is None or values is metrics.ANY or value in values
            assert value != OTHER
    assert seen > 50


def test_an_agent_that_drains_is_not_ready_at_once(aws_cloud: CloudUnderTest, aws_grid: Grid, tmp_path: Path) -> None:
    agent = aws_cloud.start_agent("--health", "0", "--json", slots=1)
    pages = Pages(tmp_path / "agent-0.log")
    noted, gate = tmp_path / "noted", tmp_path / "gate"
    session = aws_grid.submit(GATE, [{"n": 0, "file": str(noted), "gate": str(gate)}])
    eventually(noted.exists, "the task runs")
    eventually(pages.is_ready, "the agent is ready")
    agent.send_signal(signal.SIGTERM)
    eventually(lambda: not pages.is_ready(), "the agent is not ready")
    assert pages.get("/readyz") == (503, "it is draining\n")
    assert pages.get("/healthz")[0] == 200
    assert pages.value(metrics.DRAINING) == 1
    assert "draining: no more work is taken" in (tmp_path / "agent-0.log").read_text()
    gate.touch()
    assert agent.wait(timeout=60) == 0
    assert ended(session).completed == 1


def test_a_table_that_is_gone_and_comes_back(aws_cloud: CloudUnderTest, aws_grid: Grid, pages: Pages) -> None:
    """The agent says so and waits: it need not be started again."""
    eventually(pages.is_ready, "the agent is ready")
    dynamodb = aws_cloud.account.dynamodb()
    dynamodb.delete_table(TableName=TABLE)
    eventually(lambda: not pages.is_ready(), "the agent is not ready")
    status, reason = pages.get("/readyz")
    assert status == 503
    assert f"DynamoDB table {TABLE} in {REGION} does not exist" in reason
    assert pages.get("/healthz")[0] == 200
    assert pages.value(metrics.BREAKER_OPEN, of="grid") == 1
    dynamodb.create_table(**create_table(TABLE))
    eventually(pages.is_ready, "the agent is ready")
    assert ended(aws_grid.submit(DOUBLE, range(10))).state == "COMPLETED"


@pytest.mark.slow
@pytest.mark.parametrize("mood", ["throttles", "breaks"])
def test_an_aws_that_fails_is_left_alone_and_tried_again(
    aws_cloud: CloudUnderTest, aws_grid: Grid, trouble: TroubledAws, tmp_path: Path, mood: str
) -> None:
    pages = start_behind(trouble, aws_cloud, tmp_path)
    session = aws_grid.submit("tests.e2e.handlers.sleep", [{"seconds": 0.2}] * 60, bundle_size=2)
    eventually(lambda: session.progress().completed >= 4, "some tasks are done")
    trouble.be(mood)  # type: ignore[arg-type]  # one of the literals
    eventually(lambda: pages.value(metrics.BREAKER_OPEN, of="grid") == 1, "the breaker is open")
    assert not pages.is_ready()
    assert pages.get("/healthz")[0] == 200
    answer = "throttled" if mood == "throttles" else "failed"
    series = pages.series()
    assert sum(value for (_, labels), value in series.items() if ("answer", answer) in labels) >= 3
    trouble.be("well")
    eventually(pages.is_ready, "the agent is ready")
    assert ended(session).completed == 60
    assert pages.value(metrics.BREAKER_OPEN, of="grid") == 0


@pytest.mark.slow
def test_an_aws_that_keeps_silent_holds_no_loop_up(
    aws_cloud: CloudUnderTest, aws_grid: Grid, trouble: TroubledAws, tmp_path: Path
) -> None:
    """It takes calls and never answers: the agent stops by itself what its lease does not cover, and is healthy."""
    pages = start_behind(trouble, aws_cloud, tmp_path)
    noted, gate = tmp_path / "noted", tmp_path / "gate"
    session = aws_grid.submit(GATE, [{"n": 0, "file": str(noted), "gate": str(gate)}])
    eventually(noted.exists, "the task runs")
    trouble.be("silent")
    eventually(lambda: pages.value(metrics.BUNDLES_LOST, reason="not_renewed") == 1, "the agent has let go of its task")
    assert pages.get("/healthz")[0] == 200
    gate.touch()
    trouble.be("well")
    assert ended(session).completed == 1
    assert pages.get("/healthz")[0] == 200
