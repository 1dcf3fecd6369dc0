"""Results as records of a stream."""

from __future__ import annotations

from htcgrid_core.client.result_files import as_json
from htcgrid_core.client.result_sink import INDEX, ResultRows
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.ports.stream import StreamRow, StreamWriter


class StreamSink:
    """A record for each row, with session and task index in it and in its key.

    Nothing in a stream is replaced. What would be written again, its writer leaves out, or its readers can tell, as it
    has the same key. Another row under that key, as of a day that was run again, comes after those before.
    """

    def __init__(self, writer: StreamWriter) -> None:
        self._writer = writer
        self.name = writer.name

    def check(self) -> None:
        """See ``ResultSink``."""
        self._writer.check()

    def check_session(self, session: str) -> None:
        """See ``NamedSink``."""
        try:
            session.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(f"{self.name}: {session!r} cannot stand in a key: {error.reason}") from None
        self._writer.check_session(session)

    def replace(self, rows: ResultRows) -> None:
        """See ``ResultSink``."""
        made = (StreamRow(row[INDEX], as_json(row, row[INDEX])) for row in rows.dicts())
        self._writer.append(rows.session, rows.digest(), made)
