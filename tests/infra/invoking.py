"""``python -m tests.infra.invoking HANDLER SECONDS``: a function's sandbox. Events and answers are lines."""

from __future__ import annotations

import importlib
import json
import sys

from tests.aws.function_agents import Context


def main(handler: str, seconds: float) -> None:
    """Until nobody has another event."""
    module, _, name = handler.rpartition(".")
    run = getattr(importlib.import_module(module), name)
    answers, sys.stdout = sys.stdout, sys.stderr  # what it prints is its log
    for line in sys.stdin:
        answers.write(json.dumps(run(json.loads(line), Context(seconds))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
