"""``htcgrid functions invoke`` and ``test``: a deployed function, in a worker of this machine."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.exits import Exit, Failure
from htcgrid_core.cli.options import grid_options
from htcgrid_core.cli.output import echo, json_bytes, print_json, say
from htcgrid_core.cli.planes import opened
from htcgrid_core.cli.reading import reading_of, reading_options

if TYPE_CHECKING:
    from htcgrid_core.agent.invoking import Invoked, Invoker
    from htcgrid_core.client.event_files import EventFormat


@click.command(short_help="Run a function once, on this machine, and show its log.")
@click.argument("function")
@click.argument("event", default="null")
@grid_options
def invoke(url: str, as_json: bool, function: str, event: str) -> None:
    """Run NAME, or NAME:VERSION, once on this machine, with EVENT, a JSON value (- for stdin).

    It runs in a worker as an agent's, without a session: nothing of it is stored. Its result goes to stdout; what it
    printed, and a report of time and memory as Lambda writes it, to stderr. Exit code 1 if it fails.
    """
    text = sys.stdin.read() if event == "-" else event
    with _invoker(url, function) as invoker:
        invoked = invoker.invoke(_encoded(text))
    _show(invoked, as_json=as_json)
    if invoked.error is not None:
        raise SystemExit(int(Exit.FAILED))
    if not as_json:
        click.echo(json_bytes(invoked.result), nl=False)


@click.command(short_help="Run a function with each event of a file, on this machine.")
@click.argument("function")
@click.option("--events", required=True, metavar="FILE", help="The events, as for submit; - for JSON Lines on stdin.")
@click.option(
    "--format", "kind", type=click.Choice(["jsonl", "json", "csv", "parquet"]), help="If not as FILE's name says."
)
@reading_options
@grid_options
def test(url: str, as_json: bool, function: str, events: str, kind: EventFormat | None, **options: Any) -> None:
    """Run NAME, or NAME:VERSION, on this machine with each event of FILE, one after another in one worker.

    Results go to stdout, one JSON value a line, null for an event that failed; what each printed, its report, and a
    summary at the end, to stderr. Exit code 1 if any fails.
    """
    from htcgrid_core.codecs.events import encoded

    vector = _vector(events, kind, reading_of(options))
    seconds, failed, peak = [], 0, 0
    with _invoker(url, function) as invoker:
        for event in encoded("json", vector):
            invoked = invoker.invoke(event if isinstance(event, bytes) else event.data)
            _show(invoked, as_json=as_json)
            if not as_json:
                click.echo(json_bytes(invoked.result), nl=False)
            seconds.append(invoked.seconds)
            failed += invoked.error is not None
            peak = max(peak, invoked.peak_mb or 0)
    if not as_json:
        say(_summary(seconds, failed, peak))
    if failed:
        raise SystemExit(int(Exit.FAILED))


@contextlib.contextmanager
def _invoker(url: str, function: str) -> Iterator[Invoker]:
    from htcgrid_core.agent.invoking import Invoker
    from htcgrid_core.agent.privacy import hide
    from htcgrid_core.client.function_names import name_and_version

    if url.split(":", 1)[0] in ("http", "https"):
        raise Failure(
            f"{url!r} is a server of a grid, which hands out no packages to run here: give the grid's own URL, "
            "local:// or aws://NAME, or submit a session to the server",
            Exit.BAD_INPUT,
        )
    name, version = name_and_version(function)
    hide()  # this process has what an agent's has: its workers are others' code
    with opened(url) as grid, Invoker(grid.plane, name, version, grid.packages, grid.cache_bytes) as invoker:
        yield invoker


def _encoded(text: str) -> bytes:
    from htcgrid_core.codecs.values import decode_json, encode_json

    try:
        return encode_json(decode_json(text.encode("utf-8", "surrogateescape")))
    except (ValueError, RecursionError) as error:
        raise Failure(f"the event is not JSON: {error}", Exit.BAD_INPUT) from error


def _vector(events: str, kind: EventFormat | None, reading: Any) -> Iterable[Any]:
    from htcgrid_core.client.event_files import events_from, events_in

    if events == "-":
        return events_from(sys.stdin.buffer, "stdin", kind or "jsonl", **reading)
    return events_in(events, kind, **reading)


def _show(invoked: Invoked, *, as_json: bool) -> None:
    if as_json:
        print_json(_view(invoked))
        return
    error = invoked.error
    say(f"START RequestId: {invoked.request_id}")
    for printed in (invoked.stdout, invoked.stderr):
        if printed:
            echo(printed, nl=not printed.endswith("\n"), err=True)
    if error is not None:
        say("\n".join(part for part in (f"{error.type}: {error.message}", error.traceback.rstrip()) if part))
    say(f"END RequestId: {invoked.request_id}")
    say(_report(invoked))


def _report(invoked: Invoked) -> str:
    """As Lambda's: milliseconds rounded up are those that it would have billed."""
    milliseconds = 1000 * invoked.seconds
    parts = [
        f"REPORT RequestId: {invoked.request_id}",
        f"Duration: {milliseconds:.2f} ms",
        f"Billed Duration: {math.ceil(milliseconds)} ms",
        f"Memory Size: {invoked.memory_mb} MB",
    ]
    if invoked.peak_mb is not None:
        parts.append(f"Max Memory Used: {invoked.peak_mb} MB")
    if invoked.init_seconds is not None:
        parts.append(f"Init Duration: {1000 * invoked.init_seconds:.2f} ms")
    return "\t".join(parts)


def _summary(seconds: list[float], failed: int, peak: int) -> str:
    if not seconds:
        return "no events"
    milliseconds = sorted(1000 * each for each in seconds)
    median = milliseconds[len(milliseconds) // 2]
    ended = f"{len(seconds) - failed} completed, {failed} failed"
    used = f", {peak} MB at most" if peak else ""
    return f"{len(seconds)} events: {ended}; {median:.2f} ms at the median, {milliseconds[-1]:.2f} ms at most{used}"


def _view(invoked: Invoked) -> dict[str, Any]:
    """An invocation as a JSON object: the names that scripts rely on."""
    error = invoked.error
    return {
        "request_id": invoked.request_id,
        "state": "COMPLETED" if error is None else "FAILED",
        "result": invoked.result,
        "error": None if error is None else {name: getattr(error, name) for name in ("type", "message", "traceback")},
        "stdout": invoked.stdout,
        "stderr": invoked.stderr,
        "seconds": invoked.seconds,
        "init_seconds": invoked.init_seconds,
        "memory_mb": invoked.memory_mb,
        "peak_mb": invoked.peak_mb,
    }
