"""A root logger as Lambda's Python runtime sets it up, in AWS's forms of text and of JSON.

https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from typing import Any

from htcgrid_core.agent.workers.native.invocation import RUNNING

TEXT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
# Attributes of every record; others were given as ``extra``.
_USUAL = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "aws_request_id", "tenant_id"))


def install() -> None:
    """Have the root logger print, unless it does."""
    root = logging.getLogger()
    if any(isinstance(handler, _Handler) for handler in root.handlers):
        return
    logging.Formatter.converter = time.gmtime  # of all formatters, as in Lambda's runtime
    handler = _Handler()
    is_json = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
    handler.setFormatter(_Json() if is_json else logging.Formatter(TEXT, "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(_of_invocation)
    root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    if number := logging.getLevelNamesMapping().get("DEBUG" if level == "TRACE" else level):
        root.setLevel(number)


def _of_invocation(record: logging.LogRecord) -> bool:
    """Let a record say which invocation it is of."""
    now = RUNNING.context
    record.aws_request_id = "" if now is None else now.aws_request_id
    record.tenant_id = None if now is None else now.tenant_id
    return True


class _Handler(logging.Handler):
    """Prints to what is the standard output at the moment: tasks may have closed the one before."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        try:
            sys.stdout.write(self.format(record))
        except Exception:  # noqa: BLE001 - of whatever the record holds; told on stderr, as by the handlers of logging
            self.handleError(record)


class _Json(logging.Formatter):
    """A line of JSON with AWS's names for its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as a line."""
        kind, error, trace = record.exc_info or (None, None, None)
        told: dict[str, Any] = {
            "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": logging.getLevelName(min(50, max(0, record.levelno)) // 10 * 10),
            "message": record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage(),
            "logger": record.name,
            "stackTrace": traceback.format_tb(trace) if trace else None,
            "errorType": kind.__name__ if kind else None,
            "errorMessage": str(error) if error else None,
            "requestId": getattr(record, "aws_request_id", None),
            "location": f"{record.pathname}:{record.funcName}:{record.lineno}" if kind else None,
            "tenantId": getattr(record, "tenant_id", None),
        }
        told |= {name: value for name, value in vars(record).items() if name not in _USUAL and name not in told}
        known = {name: value for name, value in told.items() if value is not None}
        return json.dumps(known, ensure_ascii=False, default=str) + "\n"
