"""A session in Prefect's UI: a progress artifact while it runs, and a table of what failed."""

from __future__ import annotations

import itertools
import re
import time
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.settings import get_current_settings

from htcgrid_core import Progress, Session
from htcgrid_prefect.shared.markdown import cell, escaped

if TYPE_CHECKING:
    import logging

KEY_CHARACTERS = 100


class SessionArtifacts:
    """The artifacts of one session.

    A server that does not answer does not stop a session: the log says so once, and the session goes on.

    Args:
        interval_seconds: how often the progress is updated.
        failures_shown: rows of the table at most.
    """

    def __init__(
        self, logger: logging.Logger | logging.LoggerAdapter[Any], interval_seconds: float, failures_shown: int
    ) -> None:
        self._logger = logger
        self._interval = interval_seconds
        self._failures_shown = failures_shown
        self._progress_id: UUID | None = None
        self._due = 0.0
        self._has_warned = False

    def begin(self, progress: Progress) -> str | None:
        """Show the progress from now on; returns where, if Prefect's UI is known."""
        try:
            created = create_progress_artifact(  # type: ignore[call-arg]  # its wrapper's own argument
                progress=_percent(progress), key=artifact_key(progress.name), description=_text(progress), _sync=True
            )
        except Exception as error:  # noqa: BLE001 - whatever the API's client raises
            self._warn_once(error)
            return None
        self._progress_id = cast(UUID, created)
        self._due = time.monotonic() + self._interval
        ui_url = get_current_settings().ui_url
        return f"{ui_url}/artifacts/artifact/{self._progress_id}" if ui_url else None

    def update(self, progress: Progress) -> None:
        """Show the progress; between the intervals only the end is shown."""
        if self._progress_id is None or (time.monotonic() < self._due and not progress.ended):
            return
        self._due = time.monotonic() + self._interval
        try:
            update_progress_artifact(  # type: ignore[call-arg]  # its wrapper's own argument
                self._progress_id, progress=_percent(progress), description=_text(progress), _sync=True
            )
        except Exception as error:  # noqa: BLE001 - whatever the API's client raises
            self._warn_once(error)

    def failures(self, session: Session) -> None:
        """List the first failed tasks in a table, if there are any."""
        progress = session.progress()
        if not progress.failed or not self._failures_shown:
            return
        rows = [
            {
                "index": task.index,
                "error": cell(task.error.type) if task.error else "",
                "message": cell(task.error.message) if task.error else "",
                "attempts": task.attempts,
                "agent": task.agent,
            }
            for task in itertools.islice(session.tasks("FAILED"), self._failures_shown)
        ]
        shown = "" if len(rows) == progress.failed else f"; {len(rows):,} of them are shown"
        text = f"{progress.failed:,} tasks of session `{session.id}` failed{shown}."
        try:
            create_table_artifact(  # type: ignore[call-arg]  # its wrapper's own argument
                table=rows, key=f"{artifact_key(progress.name)}-failures", description=text, _sync=True
            )
        except Exception as error:  # noqa: BLE001 - whatever the API's client raises
            self._warn_once(error)

    def _warn_once(self, error: Exception) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._logger.warning(
                "Prefect's server does not take the session's artifacts: %s: %s", type(error).__name__, error
            )


def _percent(progress: Progress) -> float:
    if not progress.total:
        return 100.0
    return 100.0 * (progress.total - progress.pending) / progress.total


def _text(progress: Progress) -> str:
    parts = [f"{progress.completed:,} of {progress.total:,} tasks completed"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.cancelled:
        parts.append(f"{progress.cancelled:,} cancelled")
    reason = f" ({escaped(progress.reason)})" if progress.reason else ""
    return f"Session `{progress.session_id}` {escaped(progress.name)} is {progress.state}: {', '.join(parts)}{reason}."


def artifact_key(name: str) -> str:
    """Artifacts' keys are lower-case letters, digits and dashes; runs of the same flow share a history."""
    return f"htcgrid-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}"[:KEY_CHARACTERS].rstrip("-")
