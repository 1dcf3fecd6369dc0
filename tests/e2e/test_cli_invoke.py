"""``htcgrid functions invoke`` and ``test``: a deployed function on this machine, without a session."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core.agent.memory import available_mb
from htcgrid_core.agent.variables import NATIVE_VARIABLE
from tests.e2e.command_line import CommandLine
from tests.e2e.support import fresh_grid
from tests.runtimes.conftest import FUNCTIONS

HANDLER = """
import os, time

seen = []

def handler(event, context):
    print("pricing", event)
    seen.append(event)
    if event == "boom":
        raise ValueError("no curve")
    if event == "sleep":
        time.sleep(60)
    if event == "die":
        os._exit(3)
    return [os.environ.get("DESK"), context.function_version, os.environ.get("HTCGRID_TEST_SECRET"), seen]
"""
REPORT = (
    r"REPORT RequestId: (\S+)\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: (\d+) MB"
    r"(?:\tMax Memory Used: (\d+) MB)?(?:\tInit Duration: ([\d.]+) ms)?\n"
)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    """A shell with a grid of its own, on which a function is deployed."""
    monkeypatch.setenv("HTCGRID_TEST_SECRET", "not for handlers")
    with fresh_grid(tmp_path / "grid") as url:
        made = CommandLine.in_folder(tmp_path / "work", url)
        (made.folder / "pricing").mkdir()
        (made.folder / "pricing" / "app.py").write_text(HANDLER)
        options = ("--handler", "app.handler", "--memory", "512", "--timeout", "0.5", "--env", "DESK=rates")
        made.call("functions", "deploy", "pricing", "pricing", *options)
        yield made
        assert made.call("sessions", "--json").out == "", "nothing of it is a session"


@pytest.mark.parametrize("arguments", [("invoke", "pricing"), ("test", "pricing", "--events", "-")])
def test_a_server_is_not_asked(cli: CommandLine, arguments: tuple[str, ...]) -> None:
    ran = cli.call("functions", *arguments, "--url", "https://grid.example")
    assert ran.code == 2
    assert "'https://grid.example' is a server of a grid" in ran.err


@pytest.mark.parametrize("native", ["1", "0"], ids=["native", "awslambdaric"])
def test_one_invocation(cli: CommandLine, native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NATIVE_VARIABLE, native)
    ran = cli.call("functions", "invoke", "pricing:1", '{"n": 1}')
    assert (ran.code, json.loads(ran.out)) == (0, ["rates", "1", None, [{"n": 1}]])
    report = re.fullmatch(rf"START RequestId: (\S+)\npricing {{'n': 1}}\nEND RequestId: \1\n{REPORT}", ran.err)
    assert report, ran.err
    assert (report[1], report[3]) == (report[2], "512")
    assert 1 < int(report[4]) < 512
    assert float(report[5]) > 1


@pytest.mark.parametrize(
    ("event", "kind", "said"),
    [
        ('"boom"', "ValueError", "no curve"),
        ('"sleep"', "TaskTimeout", "Task timed out after 0.5 seconds"),
        ('"die"', "WorkerCrashed", "the worker exited with code 3"),
    ],
)
def test_an_invocation_that_fails(cli: CommandLine, event: str, kind: str, said: str) -> None:
    ran = cli.call("functions", "invoke", "pricing", event)
    assert (ran.code, ran.out) == (1, "")
    assert f"pricing {json.loads(event)}\n" in ran.err
    assert f"{kind}: {said}" in ran.err
    assert re.search(REPORT, ran.err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pricing", "{"), "is not JSON"), (("nobody", "1"), "is not deployed"), (("pricing:7",), "has no version 7"),
        (("pricing.handler",), "is a function of a module, which is not deployed"),
    ],
)  # fmt: skip
def test_bad_input(cli: CommandLine, arguments: tuple[str, ...], said: str) -> None:
    ran = cli.call("functions", "invoke", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_file_of_events(cli: CommandLine) -> None:
    """In one worker, as long as it lives; a crash costs its own event."""
    (cli.folder / "events.jsonl").write_text('1\n"boom"\n2\n"die"\n3\n')
    ran = cli.call("functions", "test", "pricing", "--events", "events.jsonl")
    assert ran.code == 1
    results = [json.loads(line) for line in ran.out.splitlines()]
    assert [result and result[3] for result in results] == [[1], None, [1, "boom", 2], None, [3]]
    reports = list(re.finditer(REPORT, ran.err))
    assert [bool(report[4]) for report in reports] == [True, False, False, False, True], "when a worker began"
    assert ran.err.splitlines()[-1].startswith("5 events: 3 completed, 2 failed; ")


def test_as_json(cli: CommandLine) -> None:
    (cli.folder / "events.csv").write_text("desk\nrates\n")
    told = cli.call("functions", "test", "pricing", "--events", "events.csv", "--json").object
    assert (told["state"], told["result"][3], told["stdout"]) == (
        "COMPLETED",
        [{"desk": "rates"}],
        "pricing {'desk': 'rates'}\n",
    )
    assert (told["memory_mb"], told["error"], told["stderr"]) == (512, None, "")
    failed = cli.call("functions", "invoke", "pricing", '"boom"', "--json").object
    assert (failed["state"], failed["error"]["type"], failed["result"]) == ("FAILED", "ValueError", None)


def test_a_runtime_of_ones_own(cli: CommandLine) -> None:
    """What it cannot read is refused as in a session; without a limit it is told what the machine has."""
    options = ("--handler", "app.handler", "--runtime", "provided.al2023")
    cli.call("functions", "deploy", "shell", str(FUNCTIONS / "shell"), *options)
    ran = cli.call("functions", "invoke", "shell", '{"how": "tell"}')
    assert json.loads(ran.out)["memory_mb"] == available_mb()
    refused = cli.call("functions", "invoke", "shell", "[NaN]")
    assert (refused.code, refused.out) == (1, "")
    assert "InvalidEvent: the event holds NaN" in refused.err
