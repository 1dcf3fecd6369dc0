"""What a consumer of a stream does with the results of its sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from htcgrid_core.client.result_sink import ResultSink
from htcgrid_core.client.session import Session
from htcgrid_core.client.writing import check_sinks
from htcgrid_core.data.file_sinks import FileSink
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.lifecycle import SessionState

OnEnd = Callable[[Session], object] | None


def writing(
    to: ResultSink | None,
    key: str | Sequence[str],
    failures: ResultSink | None,
    checkpoint: str,
    options: Mapping[str, Any],
) -> OnEnd:
    """What is called with each session that has ended, to write its results; None if they go nowhere.

    Args:
        options: of ``Grid.submit``.

    Raises:
        InvalidInput: they cannot be written so, or there.
    """
    if to is None:
        if key or failures is not None:
            raise InvalidInput("key= and failures= belong to to=")
        return None
    for one in (to, failures):
        if isinstance(one, FileSink):
            raise InvalidInput(f"{one.name} holds one session; give a folder, a table or a stream")
    if checkpoint == "submitted":
        raise InvalidInput("checkpoint='submitted' waits for no session: the results would not all be written")
    if options.get("max_failures") and failures is None:
        raise InvalidInput("failures that max_failures tolerates are results, too: say with failures= where they go")
    check_sinks(to, failures)

    def write(session: Session) -> None:
        if failures is not None or session.record.state is SessionState.COMPLETED:
            session.write(to, key=key, failures=failures)

    return write


def then(first: OnEnd, second: OnEnd) -> OnEnd:
    """One after the other."""
    if first is None or second is None:
        return first or second

    def both(session: Session) -> None:
        first(session)
        second(session)

    return both
