"""What workers log, on the console of the flow's process: as with a thread pool, where it would be logged here."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger
from prefect.logging.handlers import APILogHandler

LINES_SHOWN = 20_000  # of one task runner: a terminal is not where a million failures are read
TASK_RUNS = "prefect.task_runs"
_TASK_RUN = "prefect.task-run."


class Console:
    """Hands log records from workers to the handlers of this process, but for those that send them to the API."""

    def __init__(self) -> None:
        self._left = LINES_SHOWN

    def show(self, events: Iterable[bytes], logs: Iterable[bytes]) -> None:
        """Show logs, as they go to the API, with the names of runs that the events tell."""
        names: dict[str, str] | None = None
        for encoded in logs:
            if self._left <= 0:
                return
            self._left -= 1
            if names is None:
                names = _names_in(events)
            _handle(_record(orjson.loads(encoded), names))
            if not self._left:
                get_logger("htcgrid").warning(
                    "%s lines of tasks were shown; what follows is in Prefect's UI and in `htcgrid logs`",
                    f"{LINES_SHOWN:,}",
                )


def flow_logger() -> logging.Logger | logging.LoggerAdapter[Any]:
    """The logger of the run that is under way; outside of any, the package's own."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("htcgrid")


def log_of(run_id: UUID, flow_run_id: UUID | None, level: int, message: str, at: datetime) -> bytes:
    """A log of a task run, as it goes to the API: of a run whose worker keeps none."""
    return orjson.dumps(
        {
            "name": TASK_RUNS,
            "level": level,
            "message": message,
            "timestamp": at.isoformat(),
            "flow_run_id": flow_run_id,
            "task_run_id": run_id,
        }
    )


def _names_in(events: Iterable[bytes]) -> dict[str, str]:
    names = {}
    for encoded in events:
        resource = orjson.loads(encoded).get("resource", {})
        run_id = str(resource.get("prefect.resource.id", ""))
        if run_id.startswith(_TASK_RUN):
            names[run_id.removeprefix(_TASK_RUN)] = str(resource.get("prefect.resource.name", ""))
    return names


def _record(log: dict[str, Any], names: dict[str, str]) -> logging.LogRecord:
    at = datetime.fromisoformat(log["timestamp"])
    created = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    run_id, level = str(log.get("task_run_id") or ""), int(log["level"])
    return logging.makeLogRecord(
        {
            "name": log["name"],
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "msg": log["message"],
            "created": created,
            "msecs": 1000 * (created % 1),
            "task_run_id": run_id,
            "task_run_name": names.get(run_id, run_id),
            "flow_run_id": str(log.get("flow_run_id") or ""),
            "flow_run_name": str(log.get("flow_run_id") or ""),
        }
    )


def _handle(record: logging.LogRecord) -> None:
    logger: logging.Logger | None = logging.getLogger(record.name)
    if logger is None or not logger.isEnabledFor(record.levelno):
        return
    while logger is not None:
        for handler in logger.handlers:
            if record.levelno >= handler.level and not isinstance(handler, APILogHandler):
                handler.handle(record)
        logger = logger.parent if logger.propagate else None
