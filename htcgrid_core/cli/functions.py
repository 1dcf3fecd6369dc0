"""``htcgrid functions``: deploy functions, and look at what is deployed."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Any

import click

from htcgrid_core.cli.invoking import invoke, test
from htcgrid_core.cli.options import connected, grid_options
from htcgrid_core.cli.output import add_row, echo, json_bytes, moment, print_json, say, short_moment, show, table
from htcgrid_core.cli.recommending import recommend

if TYPE_CHECKING:
    from htcgrid_core.domain.function import FunctionVersion

EXAMPLES = """\b
Examples:
  htcgrid functions deploy pricing ./pricing --handler app.handler \\
    --timeout 30 --memory 512 --cpus 1
  htcgrid functions deploy risk risk.zip --runtime provided.al2023
  htcgrid functions invoke pricing '{"notional": 1000}'
  htcgrid submit pricing --events book.jsonl
  htcgrid submit pricing:3 --events book.jsonl
"""


@click.group(short_help="Deploy functions that sessions run by name.", epilog=EXAMPLES)
def functions() -> None:
    """Deploy functions that sessions run by name.

    A function is a folder or zip archive with all that its handler needs. Each deployment is a version of its own;
    NAME means the latest when a session is submitted, NAME:3 the third. A session keeps the version that it began with.
    """


def _variables(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """KEY=VALUE, or KEY alone for what this process has under that name: what is in argv, others may read."""
    found = {}
    for text in values:
        key, separator, value = text.partition("=")
        if not separator and key not in os.environ:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE, and no variable of this process.", context, option)
        found[key] = value if separator else os.environ[key]
    return found


def _in_file(context: click.Context, option: click.Parameter, file: IO[str] | None) -> dict[str, str]:
    """Lines of KEY=VALUE; empty ones and those that begin with # say nothing."""
    lines = [] if file is None else [line.strip() for line in file]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    for number, (key, separator, _) in enumerate(pairs, 1):
        if not (key and separator):
            raise click.BadParameter(f"its {number}. variable is not KEY=VALUE.", context, option)
    return {key.strip(): value for key, _, value in pairs}


@functions.command(short_help="Package a folder or zip and register it.")
@click.argument("name")
@click.argument("path", type=click.Path(exists=True))
@click.option("--handler", default="", metavar="MODULE.FUNCTION", help="What the runtime calls.")
@click.option(
    "--runtime", metavar="RUNTIME", help="python3.N, or provided.al2023 for a bootstrap.  [default: python3.N]"
)
@click.option("--timeout", type=float, metavar="SECONDS", help="One attempt of a task may take this long.")
@click.option("--memory", "memory_mb", type=int, metavar="MB", help="Memory that a worker may use.")
@click.option(
    "--cpus", type=float, metavar="CORES", help="Cores that a task keeps busy; its pool's slots need as many."
)
@click.option(
    "--isolation", type=click.Choice(["session", "task"]), help="New workers for each session, or for each task."
)
@click.option(
    "--env", "environment", multiple=True, metavar="KEY[=VALUE]", callback=_variables,
    help="Environment variable of its workers, KEY alone with the value that it has here; not for secrets, since the "
    "registry is not encrypted. May be repeated.",
)  # fmt: skip
@click.option(
    "--env-file", type=click.File(), callback=_in_file,
    help="A file with such variables, KEY=VALUE on each line; --env goes before it.",
)  # fmt: skip
@click.option(
    "--result-format", type=click.Choice(["json", "text"]), default="json", show_default=True,
    help="What a provided runtime posts: JSON, or plain text, of which the result is the string.",
)  # fmt: skip
@click.option("--runtime-client", is_flag=True, help="AWS's client runs it even where a native worker of Python could.")
@click.option(
    "--concurrency", type=int, default=1, metavar="N",
    help="Invocations that one environment of a runtime client runs at once.",
)  # fmt: skip
@click.option(
    "--events-schema",
    metavar="FILE",
    help="A JSON Schema of its events; `handler` for its first parameter's annotation.",
)
@click.option(
    "--results-schema",
    metavar="FILE",
    help="A JSON Schema of its results; `handler` for the annotation of what it returns.",
)
@click.option("--description", default="", help="For people.")
@grid_options
def deploy(
    url: str,
    as_json: bool,
    name: str,
    path: str,
    environment: dict[str, str],
    env_file: dict[str, str],
    events_schema: str | None,
    results_schema: str | None,
    **options: Any,
) -> None:
    """Package a folder or zip archive and register it as the next version of NAME.

    The latest version is kept if it has the same files and options. Prints NAME:VERSION. Events that are not as its
    schema says are refused when they are submitted; a result that is not fails its task, which is not tried again.
    """
    schemas = {"events_schema": _schema(events_schema), "results_schema": _schema(results_schema)}
    with connected(url, create=True) as grid:
        version = grid.deploy(name, path, environment={**env_file, **environment}, **schemas, **options)
    if as_json:
        print_json(_view(version))
    else:
        click.echo(version.name)


@functions.command("list", short_help="List what is deployed.")
@click.argument("name", required=False)
@grid_options
def list_(url: str, as_json: bool, name: str | None) -> None:
    """List the latest version of each function, or all versions of NAME."""
    with connected(url) as grid:
        found = grid.functions(name)
    if as_json:
        for version in found:
            print_json(_view(version))
        return
    if not found:
        say("no function is deployed" if name is None else f"no version of {name} is deployed")
        return
    rows = table(
        "function", "handler", "runtime", "schema of", "timeout", "memory", "files", "size", "deployed", "by",
        "description", numbers=("timeout", "memory", "files", "size"), cuts=("by", "description"),
        spares=("description", "by", "files", "timeout", "memory", "size", "deployed", "schema of"),
    )  # fmt: skip
    for version in found:
        add_row(
            rows, version.name, version.handler, version.runtime, _checked(version),
            _or_none(version.timeout_seconds, " s"), _or_none(version.memory_mb, " MB"), version.files,
            f"{version.package_bytes / 1024:,.1f} KiB", short_moment(version.deployed_at), version.deployed_by,
            version.description,
        )  # fmt: skip
    show(rows)


def _checked(version: FunctionVersion) -> str:
    """What of it has a schema."""
    wanted = {"events": version.checks_events, "results": version.checks_results}
    return ", ".join(what for what, is_checked in wanted.items() if is_checked)


@functions.command(short_help="Show all that is known of one version.")
@click.argument("function")
@grid_options
def describe(url: str, as_json: bool, function: str) -> None:
    """Show all that is known of NAME, NAME:VERSION, or what NAME:ALIAS means."""
    from htcgrid_core.client.function_names import name_and_qualifier

    with connected(url) as grid:
        view = _view(grid.gateway.function(*name_and_qualifier(function)))
    if as_json:
        print_json(view)
        return
    width = max(map(len, view))
    for key, value in view.items():
        if isinstance(value, dict):
            value = json_bytes(value).decode().rstrip()
        echo(f"{key:{width}}  {value if not key.endswith('_at') else moment(value)}")


@functions.command(short_help="Take a version, or a whole function, out of use.")
@click.argument("function")
@grid_options
def remove(url: str, as_json: bool, function: str) -> None:
    """Take NAME:VERSION, or all versions of NAME, out of use for new sessions.

    Sessions that run it keep it, and its number is not given again.
    """
    from htcgrid_core.client.function_names import name_and_version

    name, version = name_and_version(function)
    with connected(url) as grid:
        numbers = grid.gateway.remove_function(name, version)
    if as_json:
        print_json({"function": name, "removed": numbers})
    else:
        say(f"removed {', '.join(f'{name}:{number}' for number in numbers)}")


functions.add_command(invoke)
functions.add_command(recommend)
functions.add_command(test)


def _view(version: FunctionVersion) -> dict[str, Any]:
    """A version as a JSON object: the names that scripts rely on."""
    return {"name": version.name, **version.model_dump(mode="json")}


def _schema(given: str | None) -> Any:
    from htcgrid_core.client.function_schemas import HANDLER
    from htcgrid_core.data.checking import schema_in

    return given if given in (None, HANDLER) else schema_in(str(given))


def _or_none(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:g}{unit}"
