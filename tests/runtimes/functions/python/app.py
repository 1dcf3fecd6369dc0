"""What each runtime is asked to do: the same handler natively and through AWS's runtime client."""

import os
import signal
import sys
import threading
import time
from typing import Any

_SEEN: list[int] = []


def handler(event: Any, context: Any) -> Any:
    how = event["how"] if isinstance(event, dict) and "how" in event else "echo"
    return globals()[f"_{how}"](event, context)


def _echo(event: Any, context: Any) -> Any:
    return event


def _tell(event: Any, context: Any) -> Any:
    return {
        "request_id": context.aws_request_id,
        "function": context.function_name,
        "version": context.function_version,
        "memory_mb": int(context.memory_limit_in_mb),
        "milliseconds_left": context.get_remaining_time_in_millis(),
        "desk": os.environ["DESK"],
        "folder": os.path.basename(os.getcwd()),
        "secret": os.environ.get("HTCGRID_TEST_SECRET", ""),
    }


def _print(event: Any, context: Any) -> Any:
    print("to stdout", event["n"])
    print("to stderr", event["n"], file=sys.stderr)
    return event["n"]


def _price(event: Any, context: Any) -> Any:
    raise ValueError(f"no price for desk {event['n']}")


def _raise(event: Any, context: Any) -> Any:
    return _price(event, context)


def _exit(event: Any, context: Any) -> Any:
    sys.exit(3)


def _exit_hard(event: Any, context: Any) -> Any:
    os._exit(7)


def _kill_self(event: Any, context: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def _meet(event: Any, context: Any) -> Any:
    """Wait until as many are here; which environment they are in."""
    with open(f"{event['folder']}/{event['n']}-{os.getpid()}", "w"):
        pass
    while len(os.listdir(event["folder"])) < event["count"]:
        time.sleep(0.01)
    return os.getppid()


def _sleep(event: Any, context: Any) -> Any:
    time.sleep(60)


def _sleep_with_child(event: Any, context: Any) -> Any:
    if (child := os.fork()) == 0:
        time.sleep(60)
        os._exit(0)
    with open(event["file"], "w") as file:
        file.write(str(child))
    time.sleep(60)


def _huge(event: Any, context: Any) -> Any:
    return "x" * (65 << 20)


def _unencodable(event: Any, context: Any) -> Any:
    return threading.Lock()


def _allocate(event: Any, context: Any) -> Any:
    return len(bytearray(2 << 30))


def _remember(event: Any, context: Any) -> Any:
    _SEEN.append(event["n"])
    return list(_SEEN)


def _shared(event: Any, context: Any) -> Any:
    return event["curve"]["discount"]
