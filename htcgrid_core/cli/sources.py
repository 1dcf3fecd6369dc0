"""Options of commands that read a source, and that write to a sink."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from htcgrid_core.client.result_sink import ResultSink
    from htcgrid_core.data.base import Source

_SOURCE = ("query", "parameters", "order_by", "where", "columns", "partitions", "version", "snapshot")


def _pairs(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE, each of them."""
    wrong = next((one for one in given if "=" not in one), None)
    if wrong is not None:
        raise click.BadParameter(f"{wrong!r} is not NAME=VALUE")
    return dict(one.split("=", 1) for one in given)


def _names(context: click.Context, option: click.Parameter, given: str | None) -> list[str]:
    """Names with commas between."""
    return [name.strip() for name in given.split(",")] if given else []


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--from`` and what belongs to it."""
    options = (
        click.option(
            "--from",
            "source_uri",
            metavar="URI",
            help="The events: a folder or pattern of files, delta:PATH, iceberg://CATALOG/NAMESPACE.TABLE, or a "
            "database's URL.",
        ),
        click.option("--query", metavar="SQL", help="Database: whose rows; :name stands for a parameter."),
        click.option(
            "--param", "parameters", multiple=True, callback=_pairs, metavar="NAME=VALUE", help="Of the query, a text."
        ),
        click.option(
            "--order-by",
            callback=_names,
            metavar="COLUMNS",
            help="Database: unique columns to sort by; without, rows are sorted on disk.",
        ),
        click.option(
            "--where",
            multiple=True,
            metavar="CONDITION",
            help="Parquet, Arrow, Delta, Iceberg: such as day>=2026-01-02. May be repeated; all must hold.",
        ),
        click.option("--columns", callback=_names, metavar="COLUMNS", help="Of these: only these columns."),
        click.option(
            "--partition-type",
            "partitions",
            multiple=True,
            callback=_pairs,
            metavar="NAME=TYPE",
            help="Type of a value in the names of folders, such as day=date; text unless given.",
        ),
        click.option("--version", type=int, metavar="N", help="Delta: instead of the newest."),
        click.option("--snapshot", type=int, metavar="ID", help="Iceberg: instead of the current one."),
        click.option(
            "--schema",
            metavar="FILE",
            help="A JSON Schema that every event is checked by before any is submitted, beside the deployed function's "
            "own.",
        ),
        click.option(
            "--validate",
            type=click.Choice(["all", "sample", "off"]),
            default="all",
            show_default=True,
            help="How many events are checked by --schema, and by a deployed function's: sample is the first 1,000 "
            "and one in 100 of the rest.",
        ),
        click.option(
            "--rejects", metavar="FILE", help="JSON Lines of what the schema does not allow; the rest is submitted."
        ),
        click.option("--once", is_flag=True, help="The same input and function again give the same session."),
    )
    return _with(command, options)


def sink_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--to`` and what belongs to it."""
    options = (
        click.option(
            "--to",
            metavar="URI",
            help="For results: a folder, a .jsonl or .parquet file, delta:PATH, iceberg://CATALOG/NAMESPACE.TABLE, a "
            "database's URL, where the session's rows are replaced; or kafka://HOST:PORT/TOPIC, kinesis://NAME, to "
            "which they are appended.",
        ),
        click.option("--table", metavar="NAME", help="Database: of the results."),
        click.option("--partition-by", callback=_names, metavar="COLUMNS", help="Of a folder, or a new Delta table."),
        click.option("--key", callback=_names, metavar="NAMES", help="Names in the events to stand beside results."),
        click.option(
            "--failures-to", metavar="URI", help="As --to, for tasks that failed; without it they are errors."
        ),
        click.option("--failures-table", metavar="NAME", help="Database: of the failures."),
    )
    return _with(command, options)


def _with(command: Callable[..., Any], options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command


def source_of(uri: str | None, options: dict[str, Any], kind: str | None, reading: dict[str, Any]) -> Source | None:
    """Take a source's options out of a command's, and open it, if there is one.

    Raises:
        InvalidInput: it cannot be opened.
    """
    taken = {name: value for name in _SOURCE if (value := options.pop(name)) not in (None, [], (), {})}
    if uri is None:
        if taken:
            raise click.UsageError(f"--{next(iter(taken)).replace('_', '-')} belongs to --from.")
        return None
    from htcgrid_core.data.opening import source

    return source(uri, **taken, **reading, **({} if kind is None else {"kind": kind}))


def checked_by(events: Any, options: dict[str, Any]) -> Any:
    """The events, checked by the schema that is given, if one is; else options leave it to the function's own.

    Raises:
        InvalidInput: there is no such schema.
    """
    schema = options.pop("schema")
    if schema is None:
        return events
    from htcgrid_core.data.checking import checked, schema_in

    return checked(events, schema_in(schema), validate=options["validate"], rejects=options.pop("rejects"))


def sink_of(uri: str, table: str | None, partition_by: Sequence[str] = ()) -> ResultSink:
    """The sink that a command names.

    Raises:
        InvalidInput: there is none.
    """
    from htcgrid_core.data.opening import sink

    given = {"table": table, "partition_by": list(partition_by)}
    return sink(uri, **{name: value for name, value in given.items() if value})
