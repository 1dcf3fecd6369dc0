"""``run_stream`` and what says how far it is."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from htcgrid_core.client.grid import Grid
from htcgrid_core.client.result_sink import ResultSink
from htcgrid_core.client.session import Session
from htcgrid_core.data.streams.journal import Journal, Range, Reached, journal_path, look_into
from htcgrid_core.data.streams.opening import open_stream
from htcgrid_core.data.streams.records import Decoding, Format
from htcgrid_core.data.streams.runner import Consumed, Rules, StreamRunner
from htcgrid_core.data.streams.windows import Bounds
from htcgrid_core.data.streams.writing import then, writing
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.local.directory import Directory
from htcgrid_core.ports.stream import RecordsGone, StreamReader

_NOT_TAKEN = ("token", "name", "on_progress")


def run_stream(
    grid: Grid,
    stream: str,
    function: str | Callable[..., Any],
    *,
    consumer: str | None = None,
    start: Literal["oldest", "newest"] = "oldest",
    max_records: int = 1_000,
    max_seconds: float = 10.0,
    max_bytes: int = 16 << 20,
    format: Format = "json",  # noqa: A002 - as on the command line
    schema: Any = None,
    rejects: str | os.PathLike[str] | None = None,
    max_sessions: int = 8,
    ahead: float = 2.0,
    in_order: bool = False,
    checkpoint: Literal["ended", "submitted"] = "ended",
    on_failure: Literal["stop", "continue"] = "stop",
    drain: bool = False,
    skip_lost: bool = False,
    to: ResultSink | None = None,
    key: str | Sequence[str] = (),
    failures: ResultSink | None = None,
    state: str | os.PathLike[str] | None = None,
    on_start: Callable[[StreamRunner], object] | None = None,
    on_session: Callable[[Session, Range], object] | None = None,
    on_end: Callable[[Session], object] | None = None,
    **options: Any,
) -> Consumed:
    """Make sessions of a stream's records, each record in one of them, until it is stopped.

    Args:
        stream: ``kinesis://NAME?region=R``, or ``kafka://HOST:PORT/TOPIC``.
        function: as for ``Grid.submit``; called with each record.
        consumer: who reads: another one has all records a second time. The function's name, unless given.
        start: with which record a new consumer begins.
        max_records, max_seconds, max_bytes: when a partition's records become a session: whichever comes first.
        format: what a record is: "json", "text" (UTF-8) or "base64", which takes any.
        schema: as for ``checked``, of each record.
        rejects: a folder for records that are no events, a file for each session. Without it they are an error.
        max_sessions: that have not ended, at most.
        ahead: a session is submitted while those of its pool want fewer than so many times the slots that there are.
        in_order: a partition's session has ended before its next one is submitted.
        checkpoint: "ended": a range is done when its session has ended; "submitted": when it is acknowledged.
        on_failure: of a session that does not complete: "stop" raises it, "continue" goes on with the next one.
        drain: return when all that there is has been submitted and has ended.
        skip_lost: go on without records that left the stream before they were submitted.
        to: where the results of each session are written when it has ended, before that is written down; a crash may
            write them again, as ``Session.write`` may. Those of a session that did not complete are not, unless
            ``failures`` is given.
        key, failures: as of ``Session.write``.
        state: a folder, which has to last, with how far each consumer is; ``$HTCGRID_HOME/streams`` unless given.
        on_start: gets the runner, whose ``stop()`` ends it from a signal handler or another thread.
        on_session: called with each session that was acknowledged, and its range.
        on_end: called with each session that has ended, before that is written down; a crash may call it again.
        options: as for ``Grid.submit``, of every session.

    Raises:
        InvalidInput: an argument is no good, there is no such stream, or another process is this consumer.
        InvalidEvents: records are no events, and ``rejects`` is not given; they were not submitted.
        SessionFailed: a session did not complete.
        GridUnavailable: stream or grid did not answer for five minutes; run it again.
    """
    for name, value, known in (
        ("start", start, ("oldest", "newest")),
        ("checkpoint", checkpoint, get_args(Literal["ended", "submitted"])),
        ("on_failure", on_failure, ("stop", "continue")),
    ):
        if value not in known:
            raise InvalidInput(f"{name}={value!r}: {', '.join(known)}")
    if max_sessions < 1 or ahead <= 0:
        raise InvalidInput("max_sessions is at least 1, and ahead above 0")
    if wrong := [name for name in _NOT_TAKEN if name in options]:
        raise InvalidInput(f"{wrong[0]}= is made for each session")
    on_end = then(writing(to, key, failures, checkpoint, options), on_end)
    consumer = consumer_of(function) if consumer is None else consumer
    rules = Rules(
        consumer,
        Bounds(max_records, max_seconds, max_bytes),
        max_sessions,
        ahead,
        in_order,
        checkpoint,
        on_failure,
        drain,
        skip_lost,
    )
    decoding = Decoding(format, schema, _made(rejects))
    with contextlib.closing(open_stream(stream)) as reader:
        reader.partitions()  # before anything is written
        since = time.time() if start == "newest" else None
        path = journal_path(_folder(state), reader.name, consumer)
        with contextlib.closing(Journal(path, reader.name, consumer, since)) as journal:
            runner = StreamRunner(grid, reader, journal, function, decoding, rules, options, on_session, on_end)
            if on_start is not None:
                on_start(runner)
            return runner.run()


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """How far a consumer is with a partition.

    Attributes:
        reached: what was cut.
        open_ranges: what was cut and is not settled.
        behind_seconds: how old the next record is beside the newest, or beside now; None where the partition has ended,
            infinity where the next record has left the stream.
    """

    partition: str
    reached: Reached
    open_ranges: list[Range]
    behind_seconds: float | None

    @property
    def is_gone(self) -> bool:
        """Whether what is to be read next has left the stream."""
        return self.behind_seconds is not None and math.isinf(self.behind_seconds)


def stream_status(
    stream: str, consumer: str, *, state: str | os.PathLike[str] | None = None
) -> Iterator[PartitionStatus]:
    """How far a consumer is, also while it runs.

    Raises:
        InvalidInput: it never began on this machine, or there is no such stream.
    """
    with contextlib.closing(open_stream(stream)) as reader:
        reached, ranges, since = look_into(journal_path(_folder(state), reader.name, consumer))
        there = {one.name for one in reader.partitions()}
        known = there | {name for name, one in reached.items() if not one.ended}
        for name in sorted(known, key=lambda name: (len(name), name)):  # 9 before 10
            one = reached.get(name, Reached())
            behind = _behind(reader, name, one, since) if name in there and not one.ended else None
            yield PartitionStatus(name, one, [part for part in ranges if part.partition == name], behind)


def _behind(reader: StreamReader, partition: str, reached: Reached, since: float | None) -> float:
    try:
        cursor = reader.cursor(partition, after=reached.position, since=since)
        while math.isinf((page := reader.read(cursor, 1)).behind_seconds):
            cursor = page.cursor
            time.sleep(reader.pause_seconds)
    except RecordsGone:
        return math.inf
    return page.behind_seconds


def consumer_of(function: str | Callable[..., Any]) -> str:
    """The name of a consumer that has none: its function's, of whatever version."""
    if isinstance(function, str):
        return function.partition(":")[0]
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}"


def _folder(state: str | os.PathLike[str] | None) -> Path:
    return Directory.default().root / "streams" if state is None else Path(state)


def _made(folder: str | os.PathLike[str] | None) -> Path | None:
    if folder is None:
        return None
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"{path} is no folder for rejects: {error.strerror}") from error
    return path
