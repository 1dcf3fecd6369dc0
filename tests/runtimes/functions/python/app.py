"""What each runtime is asked to do: the same handler natively and through AWS's runtime client."""

import os
import signal
import sys
import threading
import time


def handler(event, context):
    how = event["how"] if isinstance(event, dict) and "how" in event else "echo"
    return globals()[f"_{how}"](event, context)


def _echo(event, context):
    return event


def _tell(event, context):
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


def _print(event, context):
    print("to stdout", event["n"])
    print("to stderr", event["n"], file=sys.stderr)
    return event["n"]


def _price(event, context):
    raise ValueError(f"no price for desk {event['n']}")


def _raise(event, context):
    return _price(event, context)


def _exit(event, context):
    sys.exit(3)


def _exit_hard(event, context):
    os._exit(7)


def _kill_self(event, context):
    os.kill(os.getpid(), signal.SIGKILL)


def _sleep(event, context):
    time.sleep(60)


def _sleep_with_child(event, context):
    if (child := os.fork()) == 0:
        time.sleep(60)
        os._exit(0)
    with open(event["file"], "w") as file:
        file.write(str(child))
    time.sleep(60)


def _huge(event, context):
    return "x" * (65 << 20)


def _unencodable(event, context):
    return threading.Lock()


def _allocate(event, context):
    return len(bytearray(2 << 30))


def _shared(event, context):
    return event["curve"]["discount"]
