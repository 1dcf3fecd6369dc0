"""How far a session is, and its results: in the answer, or written to an object of S3."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import Field

from htcgrid_core.client.result_files import as_json, result_format_of, write_results
from htcgrid_core.client.session import Session
from htcgrid_core.codecs.strict_json import constant_in
from htcgrid_core.domain.errors import InvalidInput, SessionNotFinished
from htcgrid_core.domain.place import check_listed
from htcgrid_core.domain.s3_uri import S3Uri
from htcgrid_core.lambdas.requests import Request, answered, parse
from htcgrid_core.lambdas.served import Served, served

MAX_ANSWER_BYTES = 5_000_000  # of the 6 MB that Lambda takes
IN_MEMORY_BYTES = 32 << 20  # of results on their way to S3; more wait in the function's /tmp


class ResultsRequest(Request):
    """Of which session.

    Attributes:
        to: an object ``s3://BUCKET/KEY`` (.jsonl or .parquet) to write the results to, below a prefix that the operator
            listed for the tenant; None to have them in the answer.
        max_bytes: of results in the answer; states of Step Functions take 262,144 in all.
    """

    session: str
    to: str | None = None
    max_bytes: int = Field(default=MAX_ANSWER_BYTES, ge=2, le=MAX_ANSWER_BYTES)


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Answer with a session's progress, and with its results once it has ended, in the order of its events.

    In the place of each task that failed or was cancelled stands ``{"error": {"index", "type", "message"}}``.

    Raises:
        InvalidInput: they do not fit into the answer, or are not JSON; or the place is none.
        SessionNotFound: there is none. SessionNotFinished: nothing can be written yet.
        GridUnavailable, AccessDenied: the grid cannot be used; invoke it again.
    """
    here = served()
    return answered(event, lambda request: results_of(here, parse(ResultsRequest, request)))


def results_of(here: Served, request: ResultsRequest) -> dict[str, Any]:
    """The answer to a request."""
    session = here.grid.session(here.checked(request.session))
    progress = session.progress()
    answer = asdict(progress) | {"session": progress.session_id, "state": str(progress.state), "results": None}
    del answer["session_id"]
    if request.to is not None:
        if not progress.ended:
            raise SessionNotFinished(f"session {session.id} is {progress.state}: its results can be written at its end")
        return answer | {"to": _written(here, session, request.to)}
    return answer | {"results": _inline(session, request.max_bytes)} if progress.ended else answer


def _inline(session: Session, max_bytes: int) -> list[Any]:
    found, left = [], max_bytes
    for index, result in enumerate(_results(session)):
        line = as_json(result, index)
        if constant := constant_in(line):
            raise InvalidInput(
                f"the result of task {index} of session {session.id} has {constant}, which JSON has not: have results "
                "written to S3 with `to`"
            )
        left -= len(line) + 1
        if left < 0:
            raise InvalidInput(
                f"the results of session {session.id} take more than {max_bytes:,} bytes: have them written to S3 "
                "with `to`"
            )
        found.append(json.loads(line))
    return found


def _written(here: Served, session: Session, to: str) -> str:
    uri = S3Uri.parse(to)
    check_listed(uri, here.tenant, "results", here.cloud.registry.places())
    with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as file:
        write_results(_results(session), file, result_format_of(uri.key))  # type: ignore[arg-type]
        file.seek(0)
        here.cloud.objects.write(uri, file)  # type: ignore[arg-type]
    return to


def _results(session: Session) -> Any:
    if session.spec.codec == "pickle":
        raise InvalidInput(f"the results of session {session.id} are pickled: read them where their classes are")
    return session.results(errors="return")
