"""Consumers of Kinesis or Kafka that kill themselves, each at one step of its work.

What is loaded is loaded once: each consumer is a fork, and takes as long as its work, not as the start of a Python.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import boto3

from htcgrid_core import Grid, connect, run_stream, sink
from htcgrid_core.adapters.kafka import reader  # noqa: F401 - loaded before the forks
from htcgrid_core.adapters.kafka.writer import KafkaWriter
from htcgrid_core.cloud import streams  # noqa: F401
from htcgrid_core.data.streams.journal import Journal
from tests.e2e.support import REPOSITORY
from tests.kafka.brokers import REAL, note_as_brokers_do

ECHO = "tests.bench.handlers.echo"  # of a module that is loaded at once
STEPS = ("before the cut", "after the cut", "after the submit", "after the note", "before it is settled", "settled")
WRITING = ("before it is written", "while it is written", "written and not committed")


def consume(url: str, stream: str, state: str, step: str, to: str | None = None) -> None:
    """Consume all that there is, or die at that step.

    Args:
        to: where results are written.
    """

    def around(owner: Any, name: str, before: str, after: str) -> None:
        method = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            if step == before:
                os.kill(os.getpid(), signal.SIGKILL)
            found = method(*args, **options)
            if step == after:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        setattr(owner, name, call)

    around(Journal, "cut", "before the cut", "after the cut")
    around(Grid, "submit", "", "after the submit")
    around(Journal, "submitted", "", "after the note")
    around(Journal, "settle", "before it is settled", "settled")
    around(KafkaWriter, "append", "before it is written", "")
    around(KafkaWriter, "_produce", "", "while it is written")
    around(KafkaWriter, "_note", "written and not committed", "")
    with connect(url) as grid:
        run_stream(
            grid, stream, ECHO, consumer="killed", state=state, drain=True, max_records=7, ahead=100,
            to=None if to is None else sink(to),
        )  # fmt: skip


def kill_at_each(
    steps: Sequence[str], arguments: Sequence[object], folder: Path, after: Callable[[int], object]
) -> None:
    """Have one consumer after the other die, each at the next step.

    Args:
        arguments: of ``consume``, but for the step.
        folder: where what they say goes.
        after: called with the number of each that has died.
    """
    command = [sys.executable, "-m", "tests.aws.stream_consumer", *map(str, arguments)]
    with (
        open(folder / "said", "w+") as said,
        subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
        ) as consumers,
    ):
        assert consumers.stdin is not None
        assert consumers.stdout is not None
        for number, step in enumerate(steps):
            print(step, file=consumers.stdin, flush=True)
            code = consumers.stdout.readline().strip()
            assert code == str(-signal.SIGKILL), (step, (folder / "said").read_text())
            after(number)


def main() -> None:
    """For each line of stdin, which names a step, say on stdout how a consumer ended: as a process's exit code."""
    url, stream, state, *to = sys.argv[1:]
    if to and not REAL:
        note_as_brokers_do()
    boto3.Session()  # reads what all its clients share
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                consume(url, stream, state, line.strip(), *to)
            except BaseException:  # a fork must not come back to this loop
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
