"""What agents of the embedded grid write into their logs: warnings, in which nothing of a session can forge a line."""

from __future__ import annotations

import logging

from htcgrid_core.domain.printable import printable, printable_line


class PrintableFormatter(logging.Formatter):
    """A message in one line, and a traceback behind it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The message, whatever it is about."""
        return printable_line(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's own name
        """The traceback, whose last line is an error's own text."""
        return printable(super().formatException(ei))  # type: ignore[arg-type]  # as logging gives it


def write_printable_lines() -> None:
    """Write warnings of all loggers to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
