"""``htcgrid submit``: a function and its events become a session."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

import click

from htcgrid_core.cli.costs import show_estimate
from htcgrid_core.cli.exits import Exit, Failure
from htcgrid_core.cli.importing import make_cwd_importable
from htcgrid_core.cli.options import connected, count_or_share, grid_options, label_option, retention_option
from htcgrid_core.cli.output import console, print_json, say
from htcgrid_core.cli.reading import reading_of, reading_options
from htcgrid_core.cli.reducing import print_reduced, reduce_options, reducer_of
from htcgrid_core.cli.sources import checked_by, source_of, source_options
from htcgrid_core.cli.views import progress_view

if TYPE_CHECKING:
    from htcgrid_core.client.event_files import EventFormat
    from htcgrid_core.client.files.options import ReadOptions
    from htcgrid_core.client.session import Session
    from htcgrid_core.data.base import Source
    from htcgrid_core.domain.retry import RetryPolicy


EXAMPLES = """\b
Examples:
  htcgrid submit pricing.handler --events book.jsonl --name book --wait
  htcgrid submit pricing.handler --from trades/ --where day=2026-01-02 --once
  htcgrid submit pricing.handler --range 1000 \\
    --task-timeout 30 --max-failures 1%
  htcgrid submit pricing.handler --events book.jsonl --estimate
  htcgrid submit pricing.handler --events book.jsonl \\
    --reduce mean --reduce quantiles:0.01,0.99 --of value
"""


@click.command(short_help="Submit a session: one task for each event.", epilog=EXAMPLES)
@click.argument("function")
@click.option(
    "--events",
    metavar="FILE",
    help="The events: .jsonl, .json, .csv, .tsv or .parquet, the first four also as .gz or .zst; - for JSON Lines on "
    "stdin.",
)
@click.option(
    "--format", "kind", type=click.Choice(["jsonl", "json", "csv", "parquet"]), help="If not as FILE's name says."
)
@reading_options
@source_options
@click.option("--range", "count", type=click.IntRange(min=0), metavar="N", help="The events 0, 1, ... N-1 instead.")
@click.option("--name", default="", help="For people.")
@click.option("--token", help="Idempotency key: the same submission again gives the same session.")
@click.option("--task-timeout", type=float, metavar="SECONDS", help="One attempt of a task may take this long.")
@click.option("--timeout", type=float, metavar="SECONDS", help="The session may take this long; then it ends FAILED.")
@click.option("--max-attempts", type=int, metavar="N", help="Failed executions that a task may have.  [default: 3]")
@click.option("--backoff-base", type=float, metavar="SECONDS", help="Longest delay before the second attempt.")
@click.option("--backoff-cap", type=float, metavar="SECONDS", help="Longest delay before any attempt.")
@click.option("--never-retry", multiple=True, metavar="TYPE", help="Error type that fails at once. May be repeated.")
@click.option(
    "--on-out-of-memory",
    metavar="POOL",
    help="Pool of larger slots, where tasks that run out of memory go on, once.",
)
@click.option(
    "--max-failures",
    metavar="COUNT|SHARE",
    callback=count_or_share,
    help="Failed tasks tolerated: a count, or a share like 0.01 or 1%. One more ends the session FAILED.",
)
@click.option("--memory-mb", type=int, metavar="MB", help="Memory that a worker may use.")
@click.option(
    "--isolation", type=click.Choice(["session", "task"]), help="New workers for this session, or for each task."
)
@retention_option
@click.option("--priority", type=click.Choice(["high", "normal", "low"]), default="normal", show_default=True)
@click.option("--pool", default="default", show_default=True, help="Class of compute to queue for.")
@click.option("--tenant", default="default", show_default=True, help="Whose share of the pool it counts towards.")
@click.option("--notify", multiple=True, metavar="NAME", help="Destination that is told of its end. May be repeated.")
@label_option("For finding the session again.")
@click.option("--bundle-size", type=int, hidden=True, help="For benchmarks; the grid chooses well.")
@click.option("--estimate", is_flag=True, help="Submit nothing: say what it would cost, by earlier sessions.")
@reduce_options
@click.option("--wait", is_flag=True, help="Wait for the session's end.")
@click.option("--progress/--no-progress", default=None, help="Show progress.  [default: on a terminal]")
@grid_options
def submit(
    url: str,
    as_json: bool,
    function: str,
    events: str | None,
    source_uri: str | None,
    kind: EventFormat | None,
    count: int | None,
    once: bool,
    estimate: bool,
    wait: bool,
    reduce: tuple[str, ...],
    of: str | None,
    progress: bool | None,
    **options: Any,
) -> None:
    """Submit a session: one task for each event.

    FUNCTION is module.handler, called as handler(event, context), with the current directory importable unless others
    may write to it; or NAME, NAME:VERSION or NAME:ALIAS of a function that was deployed (`htcgrid functions`), whose
    time and memory limits hold. Events are streamed, but for a .json array: a million of them are better a .jsonl file,
    with one JSON value on each line. Each row of a .csv file becomes an object whose values are strings; each row of a
    .parquet file one with ISO 8601 texts for dates and times.

    Prints the session's id, which watch, status, results, tasks, logs, cancel and resubmit take. With --reduce it waits
    for the session, and prints what its results come to instead; without failures that --max-failures tolerates.
    """
    reducer = reducer_of(reduce, of)
    reading = reading_of(options)
    if options["rejects"] is not None:
        from htcgrid_core.client.rejects import check_apart

        check_apart(options["rejects"], events or source_uri)
    opened = source_of(source_uri, options, kind, cast("dict[str, Any]", reading))
    if opened is not None and (events is not None or count is not None):
        raise click.UsageError("--from says what the tasks are: leave --events and --range out.")
    vector = checked_by(_vector(events, kind, count, reading) if opened is None else opened, options)
    if once:
        options["token"] = _token_of(None if opened is None else vector, function, options["token"])
    if estimate:
        with connected(url) as grid:
            tasks = sum(1 for _ in vector)
            found = grid.estimate(function, tasks, pool=options["pool"], tenant=options["tenant"])
        show_estimate(found, as_json=as_json)
        return
    grid = connected(url, create=True)
    if "." in function:  # a module's, not a deployed one
        make_cwd_importable()
    labels = options.pop("labels")
    retry = _retry(
        max_attempts=options.pop("max_attempts"),
        backoff_base_seconds=options.pop("backoff_base"),
        backoff_cap_seconds=options.pop("backoff_cap"),
        never_retry=options.pop("never_retry") or None,
        on_out_of_memory=options.pop("on_out_of_memory"),
    )
    with grid, _written(progress) as on_progress:
        session = grid.submit(function, vector, retry=retry, labels=labels, on_progress=on_progress, **options)
    if reducer is not None:
        say(f"session {session.id}")
        print_reduced(session, reducer, "raise" if options["max_failures"] is None else "skip", progress=progress)
        return
    report_submitted(session, as_json=as_json, wait=wait, progress=progress)


def report_submitted(session: Session, *, as_json: bool, wait: bool, progress: bool | None) -> None:
    """Print a new session's id, at once or as JSON at its end, and wait for it if asked to."""
    if not as_json:
        click.echo(session.id)
    try:
        if wait:
            session.wait(progress=sys.stderr.isatty() if progress is None else progress)
    finally:
        now = session.progress()
        if as_json:
            print_json(progress_view(now))
    if wait:
        session.raise_for_state()
    elif sys.stderr.isatty() and not as_json:
        say(f"{now.total:,} tasks submitted; `htcgrid watch {session.id}` waits for them")


def _vector(events: str | None, kind: EventFormat | None, count: int | None, reading: ReadOptions) -> Iterable[Any]:
    from htcgrid_core.client.event_files import events_from, events_in

    if (events is None) == (count is None):
        raise click.UsageError("Say what the tasks are: --events FILE (- for stdin), --from URI or --range N.")
    if count is not None:
        if reading:
            raise click.UsageError(f"--range reads no file: --{', --'.join(reading)} has no meaning.")
        return range(count)
    if events == "-":
        return events_from(sys.stdin.buffer, "stdin", kind or "jsonl", **reading)
    return events_in(str(events), kind, **reading)


def _token_of(opened: Source | None, function: str, token: str | None) -> str:
    if opened is None or token is not None:
        raise click.UsageError("--once makes the token of what --from reads: it needs --from, and no --token.")
    return opened.token(function)


def _retry(**given: Any) -> RetryPolicy:
    """A retry policy of the options that were given, the others being its own defaults."""
    from pydantic import ValidationError

    from htcgrid_core.domain.retry import RetryPolicy

    try:
        return RetryPolicy(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        wrong = "; ".join(f"{' '.join(map(str, e['loc'])) or 'retry'}: {e['msg']}" for e in error.errors())
        raise Failure(f"the session was not submitted: {wrong}", Exit.BAD_INPUT) from error


@contextlib.contextmanager
def _written(progress: bool | None) -> Iterator[Callable[[int], None] | None]:
    """Show how many tasks have been written so far, on a terminal."""
    if progress is False or not sys.stderr.isatty():
        yield None
        return
    with console(stderr=True).status("submitting") as status:
        yield lambda total: status.update(f"submitting: {total:,} tasks written")
