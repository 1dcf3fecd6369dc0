"""The REST API as an AWS Lambda function: behind an HTTP API of API Gateway, or a function's URL.

Both send events of payload format 2.0 and take an answer only as a whole, of 6 MB at most. So what is a stream
elsewhere comes in pages here, and nothing runs between requests: an environment is frozen then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from mangum import Mangum
from starlette.responses import Response

from htcgrid_core.api.answers import problem_response
from htcgrid_core.api.app import application
from htcgrid_core.api.auth.authenticator import Authenticator
from htcgrid_core.api.guard import Guard
from htcgrid_core.api.rates import Rates
from htcgrid_core.api.service import Service, Settings
from htcgrid_core.codecs import problems
from htcgrid_core.codecs.problems import KINDS, Problem
from htcgrid_core.gateway.served import ServedGrid

ENCODED_BYTES = 6_000_000  # of a body in base64, which is 4/3 of itself; the rest of Lambda's 6 MiB is for headers
REQUEST_BYTES = ENCODED_BYTES * 3 // 4
PAGE_BYTES = 4_000_000
AS_BYTES = ["no/text"]  # a body as text within JSON may be twice itself, or more; in base64 it is always 4/3
SETTINGS = Settings(in_background=False, page_bytes=PAGE_BYTES, request_bytes=REQUEST_BYTES)

Event = Mapping[str, Any]


class LambdaApi:
    """The application of one environment, with an event loop of its own. Used by one thread."""

    def __init__(self, grid: ServedGrid, authenticator: Authenticator, settings: Settings = SETTINGS) -> None:
        # AWS routes a request here by its host's name, and counts how often anybody asks.
        self._service = Service(grid, authenticator, Guard(["*"]), Rates(None), settings)
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)  # where the adapter looks for it
        # Not the adapter's own lifespan, which would end with each request.
        self._running = self._service.running()
        self._loop.run_until_complete(self._running.__aenter__())
        self._answer = Mangum(application(self._service), lifespan="off", text_mime_types=AS_BYTES)

    def answer(self, event: Event, context: Any) -> dict[str, Any]:
        """What an event of payload format 2.0 asks for."""
        if "http" not in event.get("requestContext", {}):
            return _encoded(problem_response(Problem(problems.MALFORMED, "events of payload format 2.0 are answered")))
        answer = self._answer(dict(event), context)
        size = len(answer.get("body", ""))
        if size > ENCODED_BYTES:
            most = ENCODED_BYTES * 3 // 4
            text = f"the answer has {size * 3 // 4:,} bytes, of {most:,} that can be sent here: ask for less"
            return _encoded(problem_response(Problem(KINDS["result-too-large"], text)))
        return answer

    def submit_uploads(self, seconds: float) -> dict[str, int]:
        """Submit, for so long, what was sealed and not submitted yet: its client, or its environment, has gone.

        Returns:
            How many there were, and how many of these are done.

        Raises:
            GridError: they cannot be looked for.
        """
        return self._service.cutter.submit_left(seconds)

    def close(self) -> None:
        """End. Lambda tells nobody: this is for tests."""
        self._loop.run_until_complete(self._running.__aexit__(None, None, None))
        self._loop.close()


def _encoded(response: Response) -> dict[str, Any]:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.raw_headers}
    return {
        "statusCode": response.status_code,
        "headers": headers,
        "body": bytes(response.body).decode(),
        "isBase64Encoded": False,
    }
