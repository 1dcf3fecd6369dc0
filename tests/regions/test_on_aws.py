"""A grid in two regions of an emulator, with agents in both: by the client, the command line and a server."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, GridUnavailable, Session, UnknownGrid, connect
from htcgrid_core.cloud.address import parse_regions
from htcgrid_core.cloud.bootstrap import bootstrap
from htcgrid_core.gateway.opening import open_served
from htcgrid_core.gateway.regions.names import region_of
from htcgrid_core.testing import handlers
from tests.aws.emulators import Account
from tests.aws.grids import NAME, PROGRAM, CloudUnderTest
from tests.aws.proxy import Forwarder, Proxy
from tests.e2e.support import eventually

HANDLER = f"{handlers.__name__}.task"
WEST, EAST = BOTH = ("eu-west-1", "us-east-1")
RUN_SECONDS = 300.0  # on a machine that does much else
_SCOPE = re.compile(r"Credential=[^/]+/[0-9]+/([a-z0-9-]+)/")


class RegionsProxy(Proxy):
    """Before an emulator: refuses whatever is signed for a region that is down.

    Attributes:
        url: to be used in the place of the emulator's.
        down: regions that answer nothing but an error.
        refused: calls, by region.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(0, upstream, _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.down: set[str] = set()
        self.refused: Counter[str] = Counter()


class _Handler(Forwarder):
    server: RegionsProxy

    def forward(self) -> None:
        scope = _SCOPE.search(self.headers.get("Authorization", ""))
        region = scope[1] if scope else ""
        if region not in self.server.down:
            super().forward()
            return
        self.body()
        self.server.refused[region] += 1
        self.answer(
            503, {"Content-Type": "application/x-amz-json-1.0"}, b'{"__type":"ServiceUnavailable","message":"down"}'
        )

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward  # noqa: N815 - the base class's names


@contextmanager
def between(url: str) -> Iterator[RegionsProxy]:
    """The proxy, while it runs."""
    proxy = RegionsProxy(url)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()


class TwoRegions:
    """The grid, its agents and what is between it and the client."""

    def __init__(self, proxy: RegionsProxy, account: Account, folder: Path) -> None:
        self.proxy = proxy
        self.url = f"aws://{NAME}?regions={WEST}:3,{EAST}:1&endpoint={proxy.url}"
        self.of: dict[str, CloudUnderTest] = {}
        for name in BOTH:
            (folder / name).mkdir()
            self.of[name] = CloudUnderTest(account, folder / name)
            self.of[name].url = f"aws://{NAME}?region={name}&endpoint={account.url}"  # agents are near

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """The command line, to its end."""
        mine = {**self.of[WEST].environment, "HTCGRID_URL": self.url, "AWS_ENDPOINT_URL": self.proxy.url}
        return subprocess.run([PROGRAM, *command], env=mine, capture_output=True, text=True, timeout=RUN_SECONDS)


@pytest.fixture(scope="module")
def grid_in_both(ministack_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoRegions]:
    """With an agent in each region."""
    account, folder = Account(ministack_url), tmp_path_factory.mktemp("regions")
    with pytest.MonkeyPatch.context() as patch, between(account.url) as proxy:
        for name, value in account.environment.items():
            patch.setenv(name, value)
        patch.delenv("AWS_REGION")
        patch.delenv("AWS_DEFAULT_REGION")
        patch.setenv("HTCGRID_CACHE", str(folder / "client-cache"))
        patch.setenv("KUBECONFIG", str(folder / "none"))
        grid = TwoRegions(proxy, account, folder)
        for address in parse_regions(f"aws://{NAME}?regions={WEST},{EAST}&endpoint={account.url}").each:
            bootstrap(address, ("default",))
        try:
            for one in grid.of.values():
                one.start_agent()
            yield grid
        finally:
            for one in grid.of.values():
                one.end()


@pytest.fixture
def two(grid_in_both: TwoRegions) -> TwoRegions:
    """Both are up."""
    grid_in_both.proxy.down.clear()
    return grid_in_both


def price(event: dict[str, Any]) -> float:
    return float(event["curve"][event["year"]])  # a key that only a pickle keeps


def test_sessions_in_both(two: TwoRegions) -> None:
    with connect(two.url) as grid:
        curve = grid.put({1: 0.97, 2: 0.94})
        events = [{"curve": curve, "year": year} for year in (1, 2)]
        found = [grid.submit(price, events, name=f"number-{number}") for number in range(6)]
        while {region_of(session.id, BOTH) for session in found} != {*BOTH}:
            found.append(grid.submit(price, events))
        assert [list(session.results()) for session in found] == [[0.97, 0.94]] * len(found)
        assert [session.id for session in grid.sessions(limit=len(found))] == [each.id for each in reversed(found)]
        assert sorted(grid.map(pow, [2, 3], [3, 2])) == [8, 9]
        with grid.executor() as pool:
            assert pool.submit(divmod, 7, 3).result() == (2, 1)
        assert grid.measure().agents == 2
        for session in found[:1]:  # whoever knows its region alone finds it under the same id
            name = str(region_of(session.id, BOTH))
            with connect(two.of[name].url) as alone:
                assert list(alone.session(session.id).results()) == [0.97, 0.94]


def test_an_outage(two: TwoRegions) -> None:
    """Of the region that gets most: new sessions go elsewhere, its own wait, tokens are not risked."""
    with connect(two.url) as grid:
        mine = grid.submit(HANDLER, [1])
        while region_of(mine.id, BOTH) != WEST:
            mine = grid.submit(HANDLER, [1])
        mine.wait()
        two.proxy.down.add(WEST)
    with connect(two.url) as grid:
        for _ in range(5):
            session = grid.submit(HANDLER, [1, 2])
            assert region_of(session.id, BOTH) == EAST
            assert list(session.results()) == [2, 4]
        with pytest.raises(GridUnavailable, match=f"lost={WEST}"):
            grid.submit(HANDLER, [1], token="book")
        listed = two.run("sessions", "--json")
        assert (listed.returncode, mine.id in listed.stdout) == (0, False)
        assert "its sessions are not in the list" in listed.stderr
        two.proxy.down.clear()
        found = eventually(lambda: _found(grid, mine.id), "the region is asked again")
        assert list(found[0].results()) == [2]


def _found(grid: Grid, session_id: str) -> list[Session]:
    """Nothing while its region is not asked."""
    try:
        return [grid.session(session_id)]
    except GridUnavailable:
        return []


def test_on_the_command_line(two: TwoRegions, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text("1\n2\n")
    done = two.run("submit", HANDLER, "--events", str(events), "--token", "book", "--wait")
    assert done.returncode == 0, done.stderr
    session_id = done.stdout.strip()
    assert region_of(session_id, BOTH) in BOTH
    assert two.run("submit", HANDLER, "--events", str(events), "--token", "book").stdout.strip() == session_id
    assert two.run("results", session_id).stdout.split() == ["2", "4"]
    assert session_id in two.run("status", session_id[:12]).stdout
    events.write_text('{"raise": "no good"}\n')
    failed = two.run("submit", HANDLER, "--events", str(events), "--wait", "--max-attempts", "1")
    assert failed.returncode == 1, failed.stderr
    failed_id = failed.stdout.strip()
    (there,) = {*BOTH} - {region_of(failed_id, BOTH)}
    again = two.run("resubmit", failed_id, "--region", there)
    assert region_of(again.stdout.strip(), BOTH) == there
    assert two.run("resubmit", failed_id, "--region", "ap-south-1").returncode == 2


@pytest.mark.slow
def test_each_region_is_examined(two: TwoRegions) -> None:
    found = two.run("doctor", "--json")
    checks = [json.loads(line)["check"] for line in found.stdout.splitlines()]
    assert {check.partition(" ")[0] for check in checks} == {*BOTH}
    assert {f"{name} table" for name in BOTH} <= {*checks}
    assert "each region has a cluster of its own" in found.stdout


def test_what_is_of_one_region_says_so(two: TwoRegions) -> None:
    for command in (["agent"], ["reconcile"]):
        refused = two.run(*command)
        assert (refused.returncode, "region=" in refused.stderr) == (2, True), (command, refused.stderr)
    with pytest.raises(UnknownGrid, match="run one in each"):
        open_served(two.url)
    assert "--context" in two.run("fleet").stderr
