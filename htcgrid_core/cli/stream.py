"""``htcgrid stream``: sessions of what a stream brings, and how far that is."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.importing import make_cwd_importable
from htcgrid_core.cli.options import connected, count_or_share, grid_options, label_option
from htcgrid_core.cli.output import print_json, say, show
from htcgrid_core.cli.rows import Rows
from htcgrid_core.cli.sources import sink_of, sink_options

if TYPE_CHECKING:
    from htcgrid_core.client.session import Session
    from htcgrid_core.data.streams.journal import Range
    from htcgrid_core.data.streams.runner import StreamRunner

_STATE = click.option(
    "--state", metavar="FOLDER", help="How far each consumer is; it has to last.  [default: $HTCGRID_HOME/streams]"
)


@click.group(short_help="Make sessions of a stream's records.")
def stream() -> None:
    """Make sessions of a stream's records, and see how far that is."""


@stream.command(short_help="Consume a stream until SIGTERM or Ctrl-C.")
@click.argument("stream_url", metavar="STREAM_URL")
@click.option("--function", required=True, help="As for submit; it is called with each record.")
@click.option("--consumer", metavar="NAME", help="Another one has all records again.  [default: the function's name]")
@click.option("--start", type=click.Choice(["oldest", "newest"]), default="oldest", show_default=True)
@click.option("--max-records", type=click.IntRange(min=1), default=1_000, show_default=True, help="Of one session.")
@click.option(
    "--max-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="To wait for them.",
)
@click.option("--max-bytes", type=click.IntRange(min=1), default=16 << 20, show_default=True, help="Of one session.")
@click.option("--format", type=click.Choice(["json", "text", "base64"]), default="json", show_default=True)
@click.option("--schema", metavar="FILE", help="A JSON Schema that every record is checked by.")
@click.option("--rejects", metavar="FOLDER", help="For records that are no events; without it they are an error.")
@click.option("--max-sessions", type=click.IntRange(min=1), default=8, show_default=True, help="That have not ended.")
@click.option(
    "--ahead",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="Submit while fewer slots are wanted than so many times those there.",
)
@sink_options
@click.option("--in-order", is_flag=True, help="One session of a partition after the other.")
@click.option("--checkpoint", type=click.Choice(["ended", "submitted"]), default="ended", show_default=True)
@click.option(
    "--on-failure",
    type=click.Choice(["stop", "continue"]),
    default="stop",
    show_default=True,
    help="When a session does not complete.",
)
@click.option("--drain", is_flag=True, help="End when all that is there has been submitted and has ended.")
@click.option("--skip-lost", is_flag=True, help="Go on without records that have left the stream.")
@_STATE
@click.option("--task-timeout", type=float, metavar="SECONDS", help="One attempt of a task may take this long.")
@click.option("--timeout", type=float, metavar="SECONDS", help="A session may take this long.")
@click.option("--max-attempts", "retry", type=int, metavar="N", help="Executions that a task may have.  [default: 3]")
@click.option("--max-failures", metavar="COUNT|SHARE", callback=count_or_share, help="Failed tasks tolerated.")
@click.option("--priority", type=click.Choice(["high", "normal", "low"]), default="normal", show_default=True)
@click.option("--pool", default="default", show_default=True, help="Class of compute to queue for.")
@click.option("--tenant", default="default", show_default=True, help="Whose share of the pool it counts towards.")
@label_option("For finding the sessions.")
@grid_options
def run(
    url: str,
    as_json: bool,
    stream_url: str,
    function: str,
    schema: str | None,
    to: str | None,
    table: str | None,
    partition_by: list[str],
    failures_to: str | None,
    failures_table: str | None,
    **options: Any,
) -> None:
    """Make sessions of a stream's records, each record in one of them.

    STREAM_URL is kinesis://NAME?region=R or kafka://HOST:PORT,HOST:PORT/TOPIC. What is read of a shard or partition
    becomes a session at --max-records, --max-seconds or --max-bytes, whichever comes first. Killed at any moment and
    run again, it goes on where it was; SIGTERM and Ctrl-C end it at once: what was read and not submitted is read
    again.

    With --to the results of each session are written there before its records are done.

    Prints the id of each session.
    """
    from htcgrid_core.data.checking import schema_in
    from htcgrid_core.data.streams.running import run_stream

    def begun(runner: StreamRunner) -> None:
        def end(number: int, frame: object) -> None:
            runner.stop()
            signal.signal(number, signal.SIG_DFL)  # a second one does not wait for a call that hangs

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)

    def tell(session: Session, of: Range) -> None:
        if as_json:
            told = {"partition": of.partition, "first": of.first, "last": of.last, "records": of.records}
            print_json({"session_id": session.id, **told})
        else:
            click.echo(session.id)

    if "." in function:
        make_cwd_importable()
    if to is None and (failures_to or options["key"] or table or partition_by or failures_table):
        raise click.UsageError("--key, --table, --partition-by and --failures-to belong to --to.")
    places: dict[str, Any] = {
        "schema": None if schema is None else schema_in(schema),
        "to": None if to is None else sink_of(to, table, partition_by),
        "failures": None if failures_to is None else sink_of(failures_to, failures_table),
    }
    with connected(url, create=True) as grid:
        done = run_stream(grid, stream_url, function, on_start=begun, on_session=tell, **places, **options)
    aside = f", {done.rejected:,} put aside" if done.rejected else ""
    failed = f", {len(done.failed):,} sessions failed" if done.failed else ""
    say(f"{done.records:,} records in {done.sessions:,} sessions{aside}{failed}")


@stream.command(short_help="Show how far a consumer of a stream is.")
@click.argument("stream_url", metavar="STREAM_URL")
@click.option(
    "--consumer", required=True, metavar="NAME", help="Of stream run; its function's name, unless given there."
)
@_STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
def status(as_json: bool, stream_url: str, consumer: str, state: str | None) -> None:
    """Show how far a consumer is with each partition of a stream: what was cut, what is open, how far behind it is."""
    from htcgrid_core.data.streams.running import stream_status

    rows = Rows("PARTITION", "POSITION", "RECORDS", "OPEN", "BEHIND", numbers=("RECORDS", "OPEN", "BEHIND"))
    for one in stream_status(stream_url, consumer, state=state):
        if as_json:
            print_json(
                {
                    "partition": one.partition,
                    "position": one.reached.position,
                    "records": one.reached.records,
                    "ended": one.reached.ended,
                    "behind_seconds": None if one.is_gone else one.behind_seconds,
                    "gone": one.is_gone,
                    "sessions": [part.session for part in one.open_ranges],
                }
            )
            continue
        behind = "ended" if one.behind_seconds is None else "gone" if one.is_gone else f"{one.behind_seconds:.0f} s"
        rows.add(one.partition, one.reached.position or "-", f"{one.reached.records:,}", len(one.open_ranges), behind)
    if not as_json:
        show(rows)
