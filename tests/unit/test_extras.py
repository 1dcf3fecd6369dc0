"""What is missing is named with the sentence that installs it: none of it comes from a package index."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest

from htcgrid_core.adapters.messenger import WorldMessenger
from htcgrid_core.domain import extras
from htcgrid_core.ports.messenger import Heard, Messenger
from tests.e2e.support import REPOSITORY

INSTALL = '`pip install ".[aws]"` in a checkout of htcgrid'

# As on a machine where they are not installed.
WITHOUT = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(extras._EXTRAS)}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


def test_every_one_is_an_extra_of_this_package() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for module, extra in extras._EXTRAS.items():
        installed = {re.split(r"[^a-z0-9-]", each)[0] for each in project["optional-dependencies"][extra]}
        assert {"botocore": "boto3", "jwt": "pyjwt", "opentelemetry": "opentelemetry-sdk"}.get(module, module).replace(
            "_", "-"
        ) in installed


@pytest.mark.parametrize(
    "command", [["aws", "bootstrap", "book"], ["sessions", "--url", "aws://book?region=eu-west-1"]]
)
def test_the_command_line_says_it_and_is_no_bug(command: list[str]) -> None:
    script = f"{WITHOUT}\nfrom htcgrid_core.cli.main import cli\ncli({command})"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert f"needs botocore: {INSTALL}" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_agent_that_cannot_tell_says_it() -> None:
    def make() -> Messenger:
        raise ModuleNotFoundError("No module named 'boto3'", name="boto3")

    answer = WorldMessenger(make).beat("token")
    assert (answer.heard, answer.detail) == (Heard.LATER, f"needs boto3: {INSTALL}, where agents run")
