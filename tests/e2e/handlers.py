"""What the tasks of the tests run: well-behaved functions, and one that misbehaves in every way we know of."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from htcgrid_core import Context

Event = dict[str, Any]


def double(event: int, context: Context) -> int:
    """Twice the event."""
    return 2 * event


def square(event: float) -> float:
    """The event's square."""
    return event * event


def echo(event: Any, context: Context) -> Any:
    """The event itself."""
    return event


def repeat(event: int, context: Context) -> str:
    """So many letters."""
    return "x" * event


def where(event: Any, context: Context) -> Event:
    """In which process, folder and Python a task runs."""
    return {"pid": os.getpid(), "parent": os.getppid(), "cwd": str(Path.cwd()), "python": sys.executable}


def describe(event: Any, context: Context) -> Event:
    """Everything that a handler is told."""
    return {
        "event": event,
        "session_id": context.session_id,
        "task_index": context.task_index,
        "attempt": context.attempt,
        "labels": context.labels,
        "function_name": context.function_name,
        "function_version": context.function_version,
        "memory_limit_in_mb": context.memory_limit_in_mb,
        "aws_request_id": context.aws_request_id,
        "remaining_ms": context.get_remaining_time_in_millis(),
    }


def sleep(event: Event, context: Context) -> int:
    """Note the start in a file if one is named, then sleep."""
    note(event)
    time.sleep(event["seconds"])
    return int(event.get("n", 0))


def sleep_stubbornly(event: Event, context: Context) -> int:
    """Ignore SIGTERM and SIGINT, note it, then sleep."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return sleep(event, context)


def note(event: Event) -> None:
    """Append a line with this process's id to the event's file: what a test waits for, and counts."""
    if "file" in event:
        with Path(event["file"]).open("a") as file:
            file.write(f"{os.getpid()} {event.get('n', 0)}\n")


def fail_until(event: Event, context: Context) -> list[int]:
    """Fail until the attempt that the event names."""
    if context.attempt < event["attempt"]:
        raise ConnectionError(f"attempt {context.attempt} fails")
    return [event["n"], context.attempt]


def fail_odd(event: int, context: Context) -> int:
    """Fail for odd events."""
    if event % 2:
        raise ArithmeticError(f"{event} is odd")
    return event


def total(event: Event, context: Context) -> float:
    """Use inputs that may be shared ones."""
    assert isinstance(event["market"]["curve"], list)
    return float(sum(event["market"]["curve"]) * event["n"])


def size_of(event: list[Any], context: Context) -> list[Any]:
    """Length and type of what came."""
    return [len(event[0]), type(event[0]).__name__]


def gate(event: Event, context: Context) -> int:
    """Wait until a file exists: the test opens the gate."""
    note({"file": event["file"], "n": event["n"]} if "file" in event else {})
    while not Path(event["gate"]).exists():
        time.sleep(0.01)
    return int(event["n"])


def hold(event: Event, context: Context) -> int:
    """Hold so many bytes until a file exists."""
    held = b"x" * int(event["bytes"])
    gate(event, context)
    return len(held)


def kill_agent(event: Event, context: Context) -> int:
    """Kill the agent if told so: the poison task."""
    note(event)
    if event["poison"]:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return int(event["n"])


class Awkward(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Unsendable(Exception):
    """An exception that cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class Unreadable(Exception):
    """An exception that its own pickle does not load: its class is called with one argument."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


class BrokenStream:
    """A stream that cannot be flushed."""

    def write(self, text: str) -> int:
        """Take anything."""
        return len(text)

    def flush(self) -> None:
        """Fail."""
        raise RuntimeError("this stream is broken")


def _raise(event: Event, context: Context) -> NoReturn:
    print("about to fail")
    raise ValueError("no price for desk 7")


def _raise_much(event: Event, context: Context) -> NoReturn:
    raise ValueError("x" * 10_000_000)


def _raise_awkward(event: Event, context: Context) -> NoReturn:
    raise Awkward


def _raise_unsendable(event: Event, context: Context) -> NoReturn:
    raise Unsendable("holds a lock")


def _raise_unreadable(event: Event, context: Context) -> NoReturn:
    raise Unreadable(7, "two arguments")


def _interrupt(event: Event, context: Context) -> NoReturn:
    raise KeyboardInterrupt


def _exit(event: Event, context: Context) -> NoReturn:
    sys.exit(3)


def _exit_hard(event: Event, context: Context) -> NoReturn:
    os._exit(7)


def _segfault(event: Event, context: Context) -> None:
    print("printed before the end", flush=True)
    ctypes.string_at(0)


def _abort(event: Event, context: Context) -> NoReturn:
    os.abort()


def _kill_self(event: Event, context: Context) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def _stop_self(event: Event, context: Context) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _loop(event: Event, context: Context) -> NoReturn:
    while True:
        pass


def _loop_stubbornly(event: Event, context: Context) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    _loop(event, context)


def _loop_with_children(event: Event, context: Context) -> NoReturn:
    for _ in range(3):
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            note(event)
            _loop(event, context)
    note(event)
    _loop(event, context)


def _recurse(event: Event, context: Context) -> None:
    _recurse(event, context)


def _allocate(event: Event, context: Context) -> int:
    return len([b"x" * (16 << 20) for _ in range(1000)])


def _return_lock(event: Event, context: Context) -> Any:
    return threading.Lock()


def _return_endless(event: Event, context: Context) -> Any:
    endless: list[Any] = []
    for _ in range(100_000):
        endless = [endless]
    return endless


def _return_too_much(event: Event, context: Context) -> str:
    return "x" * (65 << 20)


def _close_descriptors(event: Event, context: Context) -> None:
    os.closerange(3, 4096)


MISBEHAVIOURS: dict[str, Callable[[Event, Context], Any]] = {
    function.__name__.removeprefix("_"): function
    for function in (
        _raise,
        _raise_much,
        _raise_awkward,
        _raise_unsendable,
        _raise_unreadable,
        _interrupt,
        _exit,
        _exit_hard,
        _segfault,
        _abort,
        _kill_self,
        _stop_self,
        _loop,
        _loop_stubbornly,
        _loop_with_children,
        _recurse,
        _allocate,
        _return_lock,
        _return_endless,
        _return_too_much,
        _close_descriptors,
    )
}


def misbehave(event: Event, context: Context) -> Any:
    """Do what the event says; without a word about how, behave."""
    print(f"task {event['n']} speaks")
    if "how" in event:
        return MISBEHAVIOURS[event["how"]](event, context)
    return event["n"]


def _print_much(event: Event) -> None:
    line = "y" * 999 + "\n"
    for _ in range(100):
        sys.stdout.write(line * 1000)
    print("the last line")


def _close_stdout(event: Event) -> None:
    sys.stdout.close()


def _close_descriptor_1(event: Event) -> None:
    os.close(1)
    os.close(2)


def _replace_stdout(event: Event) -> None:
    sys.stdout = BrokenStream()


def _reuse_descriptor_1(event: Event) -> None:
    os.close(1)
    fd = os.open(event["file"], os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"precious")


def _change_folder(event: Event) -> None:
    os.chdir("/")


def _fork(event: Event) -> None:
    if os.fork() == 0:
        note(event)  # and return, as if the child were a worker too


def _fork_and_raise(event: Event) -> None:
    if os.fork() == 0:
        note(event)
        raise RuntimeError("in the child")


def _leave_thread(event: Event) -> None:
    threading.Thread(target=time.sleep, args=(600,)).start()


def _use_forked_pool(event: Event) -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]


def _use_spawned_pool(event: Event) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(abs, [-1, -2, -3])) == [1, 2, 3]


def _use_threads(event: Event) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(abs, range(-100, 0))) == list(range(100, 0, -1))


def _use_asyncio(event: Event) -> None:
    asyncio.run(asyncio.sleep(0.001))


def _run_program(event: Event) -> None:
    done = subprocess.run([sys.executable, "-c", "print('from below')"], check=True, capture_output=True, text=True)
    assert done.stdout == "from below\n"


RUDENESSES: dict[str, Callable[[Event], None]] = {
    function.__name__.removeprefix("_"): function
    for function in (
        _print_much,
        _close_stdout,
        _close_descriptor_1,
        _reuse_descriptor_1,
        _replace_stdout,
        _change_folder,
        _fork,
        _fork_and_raise,
        _leave_thread,
        _use_forked_pool,
        _use_spawned_pool,
        _use_threads,
        _use_asyncio,
        _run_program,
    )
}


def be_rude(event: Event, context: Context) -> Any:
    """Do what many a task does, wisely or not, and succeed."""
    print(f"task {event['n']} speaks")
    if "how" in event:
        RUDENESSES[event["how"]](event)
    return event["n"]


def fail_or_gate(event: Event, context: Context) -> Any:
    """Fail or wait, as the event says."""
    return gate(event, context) if "gate" in event else fail_until(event, context)


def fail_unless_repaired(event: Event, context: Context) -> int:
    """Every fifth event fails until a file says that the cause is gone."""
    note(event)
    if event["n"] % 5 == 0 and not Path(event["repaired"]).exists():
        raise ConnectionError("the price feed is down")
    return int(event["n"])


def total_behind_gate(event: Event, context: Context) -> float:
    """Wait at the shared input's gate."""
    while not Path(event["market"]["gate"]).exists():
        time.sleep(0.01)
    return total(event, context)


def pass_first(n: int, gate: str) -> int:
    """Wait at the gate, but for number 0."""
    while n and not Path(gate).exists():
        time.sleep(0.01)
    return n


def slow_double(n: int) -> int:
    """Twice the number, in a while."""
    time.sleep(0.01)
    return 2 * n


def fail_times(file: str, times: int) -> int:
    """Fail that often, counting in a file; then return how often it was called."""
    calls = len(Path(file).read_text()) + 1 if Path(file).exists() else 1
    Path(file).write_text("x" * calls)
    if calls <= times:
        raise ConnectionError(f"call {calls} fails")
    return calls


class Unloadable:
    """An object that is pickled, and then cannot be loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("not a number",)


def make(kind: str) -> Any:
    """A number, or what cannot be loaded."""
    return 7 if kind == "number" else Unloadable()


def who_at_gate(event: Event, context: Context) -> list[int]:
    """Wait at the gate, and tell which process and attempt came through: never twice the same."""
    return [gate(event, context), os.getpid(), context.attempt]


def call_edited_handler(event: object) -> object:
    """A callable that imports a module where it runs."""
    import edited_handler  # type: ignore[import-not-found]  # made by a test

    return edited_handler.handler(event, None)


_remembered: list[str] = []


def remember(event: str, context: Context) -> list[str]:
    """What tasks in this process were given, this one last: a library's state."""
    _remembered.append(event)
    return list(_remembered)


def fail_if_remembered(event: str, context: Context) -> int:
    """The attempt: the first one fails, and so does any in a process that another has used."""
    _remembered.append(event)
    if context.attempt == 1 or len(_remembered) > 1:
        raise ValueError(f"{len(_remembered)} tasks in this process")
    return context.attempt
