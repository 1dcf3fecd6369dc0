"""Options that several commands take, and the kinds of their values."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from htcgrid_core.client.grid import Grid
    from htcgrid_core.cloud.address import Address

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


def cluster_options(command: C) -> C:
    """--context and --namespace, of commands that look into a cluster."""
    command = click.option(
        "--namespace",
        envvar="HTCGRID_NAMESPACE",
        show_envvar=True,
        help="In which the agents are.  [default: the context's]",
    )(command)
    return click.option(
        "--context",
        envvar="HTCGRID_CONTEXT",
        show_envvar=True,
        help="Of the kubeconfig; {region} in it is each region's name.  [default: its current one; in a pod, the pod's "
        "cluster]",
    )(command)


@dataclass(frozen=True)
class InRegion:
    """One region's grid on AWS, and the context of its cluster.

    Attributes:
        region: its name, if the URL names several.
        context: None also where the one that was given is of one cluster alone, without ``{region}``.
    """

    region: str | None
    address: Address
    context: str | None

    @property
    def has_context(self) -> bool:
        """Whether a cluster may be looked at: of several regions each has its own."""
        return self.region is None or self.context is not None


ITS_CONTEXT = "each region has a cluster of its own: --context 'arn:aws:eks:{region}:ACCOUNT:cluster/htcgrid-NAME'"


def each_region(url: str, context: str | None) -> list[InRegion]:
    """The grids on AWS that a URL names: one, or one in each region.

    Raises:
        UnknownGrid: it is no such URL.
    """
    from htcgrid_core.cloud.address import has_regions, parse_aws, parse_regions

    if not has_regions(url):
        return [InRegion(None, parse_aws(url), context)]
    own = context if context is not None and "{region}" in context else None
    address = parse_regions(url)
    return [InRegion(name, address.of(name), own and own.replace("{region}", name)) for name in address.weights]


def key_file_option(command: C) -> C:
    """--key-file, of keys of a server."""
    return click.option(
        "--key-file",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="HTCGRID_API_KEY_FILE",
        show_envvar=True,
        callback=_key_file,
        help="Keys of those who may ask.  [default: api/keys.json in $HTCGRID_HOME or ~/.htcgrid]",
    )(command)


def _key_file(context: click.Context, option: click.Parameter, value: Path | None) -> Path:
    if value is not None:
        return value
    from htcgrid_core.local.directory import Directory

    return Directory.default().root / "api" / "keys.json"


def is_aws(url: str) -> bool:
    """Whether a URL is that of a grid on AWS, well-formed or not."""
    return url.split(":", 1)[0] == "aws"


def since_option(help_text: str) -> Callable[[C], C]:
    """--since: a day, a moment, or how long ago; the command gets seconds since the epoch, or None."""
    help_text = f"{help_text} As 2026-11-20, with a time, or 36h or 7d."
    return click.option("--since", metavar="DAY|TIME|AGO", callback=_since, help=help_text)


def _since(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    from datetime import UTC, datetime

    if value is None:
        return None
    units = {"m": 60, "h": 3600, "d": 86400}
    if value[-1:] in units and value[:-1].isdecimal():
        return time.time() - int(value[:-1]) * units[value[-1]]
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        text = f"{value!r} is neither a day, like 2026-11-20, nor a time, like 2026-11-20T18:30Z, nor like 36h or 7d."
        raise click.BadParameter(text, context, option) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def retention_option(command: C) -> C:
    """--retention: 30d, 12h, 90m or a number of seconds; the command gets seconds, or None."""
    return click.option(
        "--retention",
        metavar="TIME",
        callback=_retention,
        help="For how long it can be read once it has ended: 30d, 12h, 90m or seconds.  [default: the tenant's, or 7d]",
    )(command)


def _retention(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    units = {"m": 60.0, "h": 3600.0, "d": 86400.0}
    try:
        return float(value[:-1]) * units[value[-1]] if value[-1:] in units else float(value)
    except ValueError:
        text = f"{value!r} is no time: it is like 30d, 12h, 90m or 3600."
        raise click.BadParameter(text, context, option) from None


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
            share = float(value[:-1]) / 100
            if not 0 < share < 1:
                text = f"{value!r} is no share of the tasks: it is above 0 % and below 100 %; a count is 0 or more."
                raise click.BadParameter(text, context, option)
            return share
        return float(value) if "." in value or "e" in value.lower() else int(value)
    except ValueError:
        text = f"{value!r} is neither a count, like 5, nor a share, like 0.01 or 1%."
        raise click.BadParameter(text, context, option) from None


def connected(url: str, *, create: bool = False) -> Grid:
    """The grid; imported here because that takes longer than a ``--help`` should.

    Args:
        create: whether the directory of an embedded grid is made if it is not there.
    """
    from htcgrid_core.client.connect import connect

    return connect(url, create=create)
