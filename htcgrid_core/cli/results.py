"""``htcgrid results``: what the handler returned, in index order."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Literal, cast

import click

from htcgrid_core.cli.exits import Exit, Failure
from htcgrid_core.cli.importing import make_importable_for
from htcgrid_core.cli.options import connected, grid_options
from htcgrid_core.cli.output import json_bytes, print_json, say
from htcgrid_core.cli.reducing import CONCAT, print_reduced, reduce_options, reducer_of
from htcgrid_core.cli.sources import sink_of, sink_options
from htcgrid_core.cli.views import error_view, not_loadable, progress_view
from htcgrid_core.domain.errors import GridError, NotTabular, TaskFailed

if TYPE_CHECKING:
    from htcgrid_core.client.session import Session


@click.command(short_help="Write a session's results, one JSON value a line.")
@click.argument("session_id", metavar="SESSION")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file instead of stdout; one that is named .parquet is a table.",
)
@click.option(
    "--errors",
    type=click.Choice(["raise", "return"]),
    default="raise",
    show_default=True,
    help='What to do without a result: end with exit code 1, or write {"error": {...}} in its place and end with 0.',
)
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait no longer than this.")
@sink_options
@click.option("--as", "row_name", metavar="NAME", help="In the column session, instead of the session's id.")
@reduce_options
@grid_options
def results(
    url: str,
    as_json: bool,
    session_id: str,
    output: Path | None,
    errors: Literal["raise", "return"],
    timeout: float | None,
    to: str | None,
    reduce: tuple[str, ...],
    of: str | None,
    **place: Any,
) -> None:
    """Wait for a session, then write what its handler returned: one JSON value a line, in index order.

    Results of pickled sessions that are not JSON are written as their repr. A file given with --output is complete or
    not there at all. Results that no table holds without changing a value are written to NAME.parquet.jsonl
    instead of NAME.parquet. --json makes a difference only with --output: a summary on stdout.

    With --to they go to a table, a folder or a file, in the place of what an earlier try has written there, and a
    manifest to stdout; with --reduce concat, too, a row for each item of the lists that tasks returned.
    """
    _check(to, output, place)
    reducer = reducer_of(reduce, of)
    concat = to is not None and reduce == (CONCAT,)
    if to is not None and of is not None:
        raise click.UsageError("--of has no meaning beside --to, which takes whole results.")
    if to is not None and errors == "return":
        raise click.UsageError("--errors return has no meaning beside --to: --failures-to says where failures go.")
    if reducer is not None and (output is not None or (to is not None and not concat)):
        raise click.UsageError("--reduce prints one value: leave --output and --to out, but for --reduce concat --to.")
    with connected(url) as grid:
        session = grid.session(session_id)
        make_importable_for(session)
        if to is not None:
            _write_to(session, to, timeout, concat=concat, **place)
            return
        if reducer is not None:
            with _told(session):
                print_reduced(session, reducer, "raise" if errors == "raise" else "skip", timeout=timeout)
            return
        if not session.done():
            session.wait(timeout, progress=sys.stderr.isatty())
        if output is None:
            _write(session, errors, sys.stdout.buffer)
            return
        output, count, failed = _write_file(session, errors, output)
        if as_json:
            summary = {"results": count - failed, "errors": failed, "output": str(output)}
            print_json({**progress_view(session.progress()), **summary})
        else:
            without = f", {failed:,} of them errors" if failed else ""
            unit = "rows" if output.suffix.lower() == ".parquet" else "lines"
            say(f"{count:,} {unit}{without} written to {output}")


def _check(to: str | None, output: Path | None, place: dict[str, Any]) -> None:
    """Options that have no meaning beside others."""
    if to is None and (given := [name for name, value in place.items() if value]):
        name = "as" if given[0] == "row_name" else given[0].replace("_", "-")
        raise click.UsageError(f"--{name} belongs to --to.")
    if to is not None and output is not None:
        raise click.UsageError("--to and --output: one of them.")


def _write_to(
    session: Session,
    to: str,
    timeout: float | None,
    *,
    table: str | None,
    partition_by: list[str],
    key: list[str],
    failures_to: str | None,
    failures_table: str | None,
    row_name: str | None,
    concat: bool,
) -> None:
    failures = None if failures_to is None else sink_of(failures_to, failures_table)
    with _told(session, "--failures-to PLACE"):
        manifest = session.write(
            sink_of(to, table, partition_by),
            key=key,
            failures=failures,
            name=row_name,
            concat=concat,
            timeout=timeout,
            progress=sys.stderr.isatty(),
        )
    print_json(manifest.as_dict())


def _write_file(session: Session, errors: Literal["raise", "return"], output: Path) -> tuple[Path, int, int]:
    """Write a file; return which one, how many results are in it, and how many of them are errors."""
    write = _write_table if output.suffix.lower() == ".parquet" else _write
    try:
        with _whole(output) as file:
            return output, *write(session, errors, file)
    except NotTabular as error:
        lines = output.with_name(f"{output.name}.jsonl")
        with _whole(lines) as file:
            counts = _write(session, errors, file)
        if output.is_file():
            output.unlink()  # of another session: it would be taken for what was to replace it
        say(f"{output} is not written, {lines} is: {error.reason}")
        return lines, *counts


def _write_table(session: Session, errors: Literal["raise", "return"], file: IO[bytes]) -> tuple[int, int]:
    from htcgrid_core.client.result_files import write_results

    failed = 0

    def counted() -> Iterator[Any]:
        nonlocal failed
        for result in session.results(errors=errors):
            failed += isinstance(result, TaskFailed)
            yield result

    with _told(session):
        count = write_results(counted(), cast("BinaryIO", file), "parquet")
    return count, failed


def _write(session: Session, errors: Literal["raise", "return"], file: IO[bytes]) -> tuple[int, int]:
    """Write all lines; return how many, and how many of them are errors."""
    count = failed = 0
    with _told(session):
        for result in session.results(errors=errors):
            is_error = isinstance(result, TaskFailed)
            file.write(json_bytes(_error(result) if is_error else result))
            count += 1
            failed += is_error
        file.flush()
    return count, failed


@contextlib.contextmanager
def _told(session: Session, others: str = "--errors return") -> Iterator[None]:
    """What keeps results from being read, in one sentence.

    Args:
        others: the option with which the others are written.
    """
    try:
        yield
    except TaskFailed as failure:
        text = f"{failure.args[0]}; {others} writes the other results all the same"
        raise Failure(text, Exit.FAILED) from failure
    except (ImportError, AttributeError, UnpicklingError) as error:
        raise not_loadable(session.id, error) from error


def _error(failure: TaskFailed) -> dict[str, Any]:
    return {"error": {"index": failure.index, **error_view(failure.error)}}


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name only once it is complete; a device or a pipe is written to directly."""
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            with open(path, "wb") as file:
                yield file
            return
        beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
        try:
            with open(beside, "wb") as file:
                yield file
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except (GridError, BrokenPipeError):  # a WaitTimeout is an OSError too
        raise
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}", Exit.BAD_INPUT) from error
