"""``htcgrid functions``: deploy, run, look, remove."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core import connect
from tests.e2e.command_line import CommandLine
from tests.e2e.support import fresh_grid

HANDLER = """
import os

def handler(event, context):
    return [os.environ["DESK"], context.function_version, event]
"""


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[CommandLine]:
    """A shell with a grid of its own, in a folder with a function."""
    with fresh_grid(tmp_path / "grid") as url:
        connect(url).close()
        made = CommandLine.in_folder(tmp_path / "work", url)
        (made.folder / "pricing").mkdir()
        (made.folder / "pricing" / "app.py").write_text(HANDLER)
        yield made


def test_from_deployment_to_results(cli: CommandLine) -> None:
    options = ("--handler", "app.handler", "--memory", "512", "--timeout", "9", "--isolation", "task")
    deploy = ("functions", "deploy", "pricing", "pricing", *options)
    first = cli.run(*deploy, "--env", "DESK=rates", "--description", "values the book")
    assert (first.code, first.out, first.err) == (0, "pricing:1\n", "")
    assert cli.call(*deploy, "--env", "DESK=rates", "--description", "values the book").out == "pricing:1\n"
    second = cli.call(*deploy, "--env", "DESK=fx", "--json").object
    assert (second["name"], second["version"], second["variables"]) == ("pricing:2", 2, {"DESK": "fx"})
    (cli.folder / "pricing" / "app.py").unlink()  # it is in the grid
    for name, expected in (("pricing", '["fx", "2", 0]\n'), ("pricing:1", '["rates", "1", 0]\n')):
        session = cli.session(name, "--range", "1", "--wait", "--no-progress")
        assert cli.call("results", session).out == expected
        spec = cli.call("status", session, "--json").object["spec"]
        assert (spec["task_timeout_seconds"], spec["isolation"]) == (9, "task")
    listed = cli.call("functions", "list")
    assert "pricing:2" in listed.out
    assert "pricing:1" not in listed.out
    both = cli.call("functions", "list", "pricing", "--json").objects
    assert [one["name"] for one in both] == ["pricing:1", "pricing:2"]
    assert cli.call("functions", "describe", "pricing:1", "--json").object["description"] == "values the book"
    assert "512" in cli.call("functions", "describe", "pricing").out
    removed = cli.call("functions", "remove", "pricing:2", "--json").object
    assert removed == {"function": "pricing", "removed": [2]}
    assert cli.call("functions", "describe", "pricing", "--json").object["version"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("deploy", "app", "missing", "--handler", "app.handler"), "does not exist"),
        (("deploy", "app", "pricing", "--handler", "app.nothing"), "has no function 'nothing'"),
        (("deploy", "a.b", "pricing", "--handler", "app.handler"), "was not deployed: function"),
        (("deploy", "app", "pricing", "--handler", "app.handler", "--runtime", "cobol"), "was not deployed: runtime"),
        (("deploy", "app", "pricing", "--handler", "app.handler", "--env", "NO_SUCH_DESK"), "is not KEY=VALUE"),
        (("describe", "nobody"), "is not deployed"),
        (("describe", "nobody:x"), "is not deployed"),
        (("remove", "nobody"), "is not deployed"),
        (("list", "../x"), "is not a function's name"),
    ],
)
def test_bad_input(cli: CommandLine, arguments: tuple[str, ...], said: str) -> None:
    ran = cli.call("functions", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_nothing_is_deployed_yet(cli: CommandLine) -> None:
    ran = cli.call("functions", "list")
    assert (ran.code, ran.out, ran.err) == (0, "", "no function is deployed\n")
    assert cli.call("functions", "list", "--json").out == ""
    ran = cli.call("submit", "pricing", "--range", "1")
    assert (ran.code, ran.out) == (2, "")
    assert "is not deployed" in ran.err


def test_variables_from_this_process_and_from_a_file(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is in argv, other users of the machine may read."""
    monkeypatch.setenv("DESK", "rates=1")
    (tmp_path / "variables").write_text("# of the desk\n\nBOOK=a=b\nDESK=fx\n")
    deployed = cli.call(
        "functions", "deploy", "app", "pricing", "--handler", "app.handler", "--env", "DESK", "--env", "CURVE=x",
        "--env-file", str(tmp_path / "variables"), "--json",
    )  # fmt: skip
    assert deployed.object["variables"] == {"BOOK": "a=b", "DESK": "rates=1", "CURVE": "x"}
    (tmp_path / "variables").write_text("BOOK=a\nsecret-value\n")
    ran = cli.call(
        "functions", "deploy", "app", "pricing", "--handler", "app.handler", "--env-file", str(tmp_path / "variables")
    )
    assert ran.code == 2
    assert "its 2. variable is not KEY=VALUE" in ran.err
    assert "secret-value" not in ran.err
