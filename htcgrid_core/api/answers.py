"""Answers that are no operation's own: problems."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from htcgrid_core.codecs.problems import MEDIA_TYPE, Problem

RETRY_AFTER = {"Retry-After": "1"}  # of what passes by itself


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """A problem, as RFC 9457 has it."""
    status = problem.kind.status
    headers = {**(RETRY_AFTER if status == 503 else {}), **(headers or {})}
    return Response(orjson.dumps(problem.to_json()), status, headers, MEDIA_TYPE)
