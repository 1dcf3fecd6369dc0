"""The command line, in the words of its own ``--help``."""

from __future__ import annotations

import click

from htcgrid_core.cli.main import cli

COLUMNS = 100


def reference() -> str:
    """The help of ``htcgrid`` and of each of its commands."""
    top = _context(cli, "htcgrid", None)
    parts = [_shown(cli, top)]
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        assert command is not None
        parts.append(f"## htcgrid {name}\n\n{_shown(command, _context(command, name, top))}")
    return "\n\n".join(parts)


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    settings = {**command.context_settings, "terminal_width": COLUMNS, "max_content_width": COLUMNS}
    return click.Context(command, info_name=name, parent=parent, **settings)


def _shown(command: click.Command, context: click.Context) -> str:
    return f"```text\n{command.get_help(context)}\n```"
