"""``htcgrid`` as a shell runs it: what it wrote and its exit code; in a process of its own, or in this one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from htcgrid_core.cli.main import cli
from tests.e2e.support import GUARD_SECONDS

PROGRAM = Path(sys.executable).with_name("htcgrid")  # what a user's shell finds beside this Python

HANDLERS = '''
import os, sys, time

def square(event, context):
    return event * event

def echo(event, context):
    return event

def moody(event, context):
    """Fails for every third event until the file named healed exists."""
    print("saw", event)
    print("worried by", event, file=sys.stderr)
    if event % 3 == 0 and not os.path.exists("healed"):
        raise ValueError(f"no {event}")
    return event

def talk_then_wait(event, context):
    """Print, and end once a file exists, if one is named."""
    print("said something")
    while event and not os.path.exists(event):
        time.sleep(0.01)

def wait_for(event, context):
    """Until a file exists."""
    open(event + ".begun", "w").close()
    while not os.path.exists(event):
        time.sleep(0.01)
    return event
'''


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON objects on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def object(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        (only,) = self.objects
        return only


@dataclass(frozen=True)
class CommandLine:
    """A shell in ``folder`` with ``HTCGRID_URL`` set; ``folder`` has a module ``mine`` with handlers."""

    folder: Path
    url: str

    @classmethod
    def in_folder(cls, folder: Path, url: str) -> CommandLine:
        """With the handlers written."""
        folder.mkdir(exist_ok=True)
        (folder / "mine.py").write_text(HANDLERS)
        return cls(folder, url)

    def start(self, *arguments: str, preexec_fn: Callable[[], None] | None = None) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [PROGRAM, *arguments],
            cwd=self.folder,
            env={**os.environ, "HTCGRID_URL": self.url, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=preexec_fn,
        )

    def run(self, *arguments: str, stdin: str | None = None, wrapper: Iterable[str] = ()) -> Ran:
        """Run a command to its end in a process of its own.

        Args:
            wrapper: a program and its arguments that run the command under other conditions.
        """
        done = subprocess.run(
            [*wrapper, PROGRAM, *arguments],
            cwd=self.folder,
            env={**os.environ, "HTCGRID_URL": self.url},
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=GUARD_SECONDS,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def call(self, *arguments: str, stdin: str | bytes | None = None) -> Ran:
        """Run a command to its end in this process, which saves the half second that a new one's imports take."""
        path = sys.path[:]
        try:
            with contextlib.chdir(self.folder):
                result = CliRunner(env={"HTCGRID_URL": self.url}).invoke(cli, arguments, input=stdin)
        finally:
            sys.path[:] = path
        return Ran(result.exit_code, result.stdout, result.stderr)

    def session(self, *arguments: str) -> str:
        """Submit, and return the session's id."""
        ran = self.call("submit", *arguments)
        assert ran.code == 0, ran.err
        return ran.out.strip()


def as_an_ordinary_user() -> list[str] | None:
    """A wrapper under which permissions count, also for root; None if there is none."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    return None if setpriv is None else [setpriv, "--bounding-set=-dac_override,-dac_read_search"]
