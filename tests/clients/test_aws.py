"""AWS's own clients, as they are, invoke a grid's functions: its command line, and its SDK for JavaScript."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import connect
from htcgrid_core.api.auth.keys import write_keys
from tests.e2e.support import REPOSITORY
from tests.served import Server, key

TOOLS = REPOSITORY / ".venv-aws-cli"
CODE = """
def handler(event, context):
    print("hello")
    if event == "raise":
        raise ValueError("no such book")
    return event
"""


@pytest.fixture(scope="module")
def caller(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of one who may invoke, and nothing else."""
    package = tmp_path_factory.mktemp("echo")
    (package / "code.py").write_text(CODE)
    with connect(server.url, api_token=server.token) as grid:
        grid.deploy("echo", package, handler="code.handler")
    who = key("caller", "submit", "default")
    write_keys(server.key_file, [*server.keys, who])
    aside = ("AWS_", "HTCGRID_")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(aside)},
        "AWS_ACCESS_KEY_ID": who.id,
        "AWS_SECRET_ACCESS_KEY": who.secret,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_LAMBDA": server.url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "HTCGRID_URL": server.url,
    }


def _aws(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    program = TOOLS / "bin" / "aws"
    if not program.exists():
        pytest.skip("the AWS command line is not installed: `make .venv-aws-cli/ready` installs it")
    command = [str(program), "lambda", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_the_command_line_invokes(caller: Mapping[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"

    def invoke(payload: str, *options: str, function: str = "echo") -> dict[str, Any]:
        done = _aws(caller, "invoke", "--function-name", function, "--payload", payload, *options, str(out))
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    answer = invoke('{"years": 2}', "--log-type", "Tail", function="echo:1")
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "1")
    assert json.loads(out.read_text()) == {"years": 2}
    assert "hello\n" in base64.b64decode(answer["LogResult"]).decode()
    assert invoke('"raise"')["FunctionError"] == "Unhandled"
    assert json.loads(out.read_text())["errorType"] == "ValueError"
    assert invoke("1", "--invocation-type", "Event")["StatusCode"] == 202


def test_the_command_line_is_refused(caller: Mapping[str, str], tmp_path: Path) -> None:
    done = _aws(caller, "invoke", "--function-name", "nobodys", str(tmp_path / "out"))
    assert done.returncode > 0
    assert "(ResourceNotFoundException)" in done.stderr


def test_the_sdk_for_javascript(caller: Mapping[str, str]) -> None:
    sdk, node = TOOLS / "sdk", shutil.which("node")
    if node is None or not (sdk / "ready").exists():
        pytest.skip("AWS's SDK for JavaScript is not installed: `make .venv-aws-cli/sdk/ready` installs it, with npm")
    command = [node, str(Path(__file__).with_name("invoking.mjs")), f"{sdk}/"]
    done = subprocess.run(command, env=caller, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    tail = found["tail"]
    assert (tail["status"], tail["error"], tail["payload"]) == (200, None, {"book": 1})
    assert tail["log"].startswith(f"START RequestId: {tail['id']} Version: 1\nhello\n")
    assert (found["event"]["status"], found["dry"]["status"]) == (202, 204)
    assert found["raised"]["error"] == "Unhandled"
    assert found["raised"]["payload"]["errorType"] == "ValueError"
    assert found["many"] == list(range(20))
    assert found["large"] == 3_000_000
    assert found["missing"] == ["ResourceNotFoundException", 404, 1]  # at the first try: it is not worth another
    assert found["denied"] == ["AccessDeniedException", 403, 1]
