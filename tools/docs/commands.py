"""The command line, in the words of its own ``--help``."""

from __future__ import annotations

import click

from htcgrid_core.cli.main import cli

COLUMNS = 100


def reference() -> str:
    """The help of ``htcgrid`` and of each of its commands."""
    top = _context(cli, "htcgrid", None)
    return "\n\n".join([_shown(cli, top), *_below(cli, top, 2)])


def _below(group: click.Group, context: click.Context, level: int) -> list[str]:
    """A section for each command of a group, and for those of the groups among them."""
    parts = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        within = _context(command, name, context)
        parts.append(f"{'#' * level} {within.command_path}\n\n{_shown(command, within)}")
        if isinstance(command, click.Group):
            parts += _below(command, within, level + 1)
    return parts


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    settings = {**command.context_settings, "terminal_width": COLUMNS, "max_content_width": COLUMNS}
    return click.Context(command, info_name=name, parent=parent, **settings)


def _shown(command: click.Command, context: click.Context) -> str:
    return f"```text\n{command.get_help(context)}\n```"
