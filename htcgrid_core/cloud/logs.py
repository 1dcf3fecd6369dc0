"""How an agent's log is written: JSON for machines, readable lines for a terminal. Configured here and nowhere else."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO, get_args

import structlog

from htcgrid_core.domain.log_context import log_fields
from htcgrid_core.domain.printable import printable, printable_fields

Level = Literal["debug", "info", "warning", "error"]
Style = Literal["auto", "json", "text"]
LEVELS, STYLES = get_args(Level), get_args(Style)

Event = MutableMapping[str, Any]


def configure(level: Level = "info", style: Style = "auto", stream: TextIO | None = None, **fields: object) -> None:
    """Write this package's lines from ``level`` on, and others' warnings, to ``stream``.

    Others' lines below that are never written: botocore's would show payloads.

    Args:
        style: auto is text on a terminal, and JSON elsewhere.
        stream: stderr if it is None.
        fields: that every line carries.
    """
    stream = stream or sys.stderr

    def add_fields(logger: object, method: str, event: Event) -> Event:
        for name, value in {**fields, **log_fields()}.items():
            event.setdefault(name, value)
        return event

    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                add_fields,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(style, stream)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("htcgrid_core").setLevel(level.upper())


def _renderers(style: Style, stream: TextIO) -> list[Any]:
    if style == "json" or (style == "auto" and not stream.isatty()):
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback
    console = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)
    return [structlog.processors.format_exc_info, _escaped, console]


def _escaped(logger: object, method: str, event: Event) -> Event:
    """Nothing in it, of a session or of AWS, is for the terminal to obey."""
    lines = {"exception": printable(event["exception"])} if "exception" in event else {}
    return {**printable_fields(dict(event)), **lines}
