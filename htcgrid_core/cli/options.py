"""Options that several commands take, and the kinds of their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from htcgrid_core.client.grid import Grid

C = TypeVar("C", bound=Callable[..., Any])


def grid_options(command: C) -> C:
    """--url and --json, which every command takes."""
    command = click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")(command)
    return click.option(
        "--url",
        envvar="HTCGRID_URL",
        default="local://",
        show_default=True,
        show_envvar=True,
        help="The grid: local://, local:///DIRECTORY?agents=1&slots=2&idle=60 or aws://NAME?region=R.",
    )(command)


def is_aws(url: str) -> bool:
    """Whether a URL is that of a grid on AWS, well-formed or not."""
    return url.split(":", 1)[0] == "aws"


def label_option(help_text: str) -> Callable[[C], C]:
    """--label KEY=VALUE, which may be repeated; the command gets a dict ``labels``."""
    return click.option(
        "--label", "labels", multiple=True, metavar="KEY=VALUE", callback=_labels, help=f"{help_text} May be repeated."
    )


def _labels(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    labels = {}
    for text in values:
        key, separator, value = text.partition("=")
        if not separator:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE.", context, option)
        labels[key] = value
    return labels


def count_or_share(context: click.Context, option: click.Parameter, value: str | None) -> int | float | None:
    """A count as an int (5), or a share as a float (0.01 or 1%), as ``Grid.submit`` takes them."""
    if value is None:
        return None
    try:
        if value.endswith("%"):
            return float(value[:-1]) / 100
        return float(value) if "." in value or "e" in value.lower() else int(value)
    except ValueError:
        text = f"{value!r} is neither a count, like 5, nor a share, like 0.01 or 1%."
        raise click.BadParameter(text, context, option) from None


def connected(url: str) -> Grid:
    """The grid; imported here because that takes longer than a ``--help`` should."""
    from htcgrid_core.client.connect import connect

    return connect(url)
