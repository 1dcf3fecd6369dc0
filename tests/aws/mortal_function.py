"""The agent as a function, some of whose invocations are killed: what Lambda runs in test_function_in_lambda.py."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

from htcgrid_core.cloud import function_agent
from htcgrid_core.cloud.lambda_function import LambdaContext

LOG_VARIABLE, EVERY_VARIABLE, WITHIN_VARIABLE = "MORTAL_LOG", "MORTAL_EVERY", "MORTAL_WITHIN_SECONDS"


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """One in so many invocations ends by SIGKILL: before, within or after its commits, and never with an answer."""
    number = _write_down("began")
    if number % int(os.environ[EVERY_VARIABLE]):
        answer = function_agent.handler(event, context)
        _write_down("answered")
        return answer
    end = threading.Thread(target=_kill, args=(random.Random(number).uniform(0, float(os.environ[WITHIN_VARIABLE])),))
    end.start()
    try:
        return function_agent.handler(event, context)
    finally:
        end.join()


def _kill(seconds: float) -> None:
    time.sleep(seconds)
    _write_down("killed")
    os.kill(os.getpid(), signal.SIGKILL)


def _write_down(what: str) -> int:
    """How many of them there are with this one, in all sandboxes."""
    with Path(os.environ[LOG_VARIABLE]).open("a+") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        log.write(what + "\n")
        log.flush()
        log.seek(0)
        return log.read().splitlines().count(what)
