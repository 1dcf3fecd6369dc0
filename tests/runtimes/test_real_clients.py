"""What AWS's clients and its tutorial post beside plain results."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core import Grid, RetryPolicy, connect
from tests.e2e.support import ended, fresh_grid
from tests.runtimes.clients import hosted
from tests.runtimes.conftest import FUNCTIONS, NPM
from tests.runtimes.test_protocol import error_of, result_of

ONCE = RetryPolicy(max_attempts=1)

needs_node = pytest.mark.skipif(
    not (NPM / "aws-lambda-ric" / "rapid-client.node").exists(), reason="aws-lambda-ric is not built: make .node/ready"
)


@pytest.mark.skipif(shutil.which("bash") is None, reason="a bash script")
def test_the_runtime_of_awss_tutorial(tmp_path: Path) -> None:
    """It posts plain text: a result for who asks for text, else none."""
    shutil.copy(FUNCTIONS / "bash" / "function.sh", tmp_path)
    with hosted(tmp_path, (FUNCTIONS / "bash" / "bootstrap").read_text()) as host:
        host.run([{"n": 1}], package_options={"handler": "function.handler", "result_format": "text"})
        outcome = host.outcome()
        assert result_of(outcome) == "Echoing request: '{\"n\":1}'"
        assert outcome.stderr.startswith('{"n":1}')
        host.pool.discard(0)
        host.run([{"n": 2}], package_options={"handler": "function.handler"})
        assert error_of(host.outcome()).type == "InvalidResult"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """A grid with functions that AWS's client for Node runs."""
    folder = tmp_path_factory.mktemp("npm") / "package"
    shutil.copytree(FUNCTIONS / "npm", folder)
    shutil.copytree(NPM / "aws-lambda-ric", folder / "node_modules" / "aws-lambda-ric")
    with fresh_grid(tmp_path_factory.mktemp("grid")) as url, connect(url) as grid:
        for name in ("handler", "cyclic"):
            grid.deploy(name, folder, handler=f"streaming.{name}", runtime="provided.al2023", timeout=30)
        yield grid


@needs_node
@pytest.mark.slow
def test_streamed_responses_of_node(node: Grid) -> None:
    """Whoever destroys its stream ends Node, which does not expect that: a crash, unless the cut is seen before."""
    session = node.submit("handler", ["whole", "fails_midway", "cut_off", "whole"], retry=ONCE, bundle_size=4)
    ended(session)
    tasks = {task.index: task for task in session.tasks()}
    failed = tasks[1].error
    assert failed is not None
    assert (failed.type, failed.message) == ("PricingError", "no curve")
    assert "at Object.fails_midway" in failed.traceback
    assert tasks[2].error is not None
    assert tasks[2].error.type in ("WorkerCrashed", "Runtime.TruncatedResponse")
    results = list(session.results(errors="return"))
    assert [results[0], results[3]] == [{"streamed": True}] * 2


@needs_node
@pytest.mark.slow
def test_what_node_cannot_encode(node: Grid) -> None:
    session = node.submit("cyclic", [1], retry=ONCE)
    ended(session)
    (task,) = session.tasks()
    assert task.error is not None
    assert task.error.type == "InvalidResult"
