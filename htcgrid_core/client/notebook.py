"""Progress in a notebook, which is written anew in its place: no widgets, which few notebooks have installed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, RenderableType

from htcgrid_core.client.progress import Progress
from htcgrid_core.client.waiting import new_patience
from htcgrid_core.domain.errors import GridError

COLUMNS = 100
FOLLOW_SECONDS = 1.0  # between two reads of a session that is shown; of one that runs long, more
FOLLOW_SHARE = 0.01  # of the time that it has run


class NotebookText:
    """One output of a cell."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, renderable: RenderableType) -> None:
        """Write it in the place of what was there."""
        self.show_as({"text/plain": as_text(renderable)})

    def show_as(self, data: dict[str, str]) -> None:
        """The same, of texts by their media types."""
        from IPython.display import display  # who runs in a notebook has it

        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


def as_text(renderable: RenderableType) -> str:
    """What a terminal without colours would show."""
    console = Console(width=COLUMNS, color_system=None, force_terminal=False, force_jupyter=False)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get().rstrip()


def show_live(read: Callable[[], Progress]) -> None:
    """Show how far a session is as the output of a cell, and go on in its place until it has ended.

    Raises:
        NotImplementedError: this is no notebook, which IPython takes for: show it as others are shown.
    """
    if not Console().is_jupyter:
        raise NotImplementedError
    output, now = NotebookText(), read()
    output.show_as(_data(now))
    if not now.ended:
        threading.Thread(target=_follow, args=(read, output, now), name="htcgrid-notebook", daemon=True).start()


def _follow(read: Callable[[], Progress], output: NotebookText, shown: Progress) -> None:
    patience = new_patience()
    while not shown.ended:
        time.sleep(max(FOLLOW_SECONDS, FOLLOW_SHARE * (time.time() - shown.submitted_at)))
        try:
            now = patience.read(read)
        except GridError:
            return  # the grid was away for long, or the session has expired: what was last seen stays
        if now != shown:
            output.show_as(_data(now))
        shown = now


def _data(progress: Progress) -> dict[str, str]:
    return {"text/html": progress._repr_html_(), "text/plain": repr(progress)}
