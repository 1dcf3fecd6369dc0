"""An ASGI application behind mangum."""

import json
from typing import Any

from mangum import Mangum


async def app(scope: Any, receive: Any, send: Any) -> None:
    who = scope["aws.context"].aws_request_id
    body = json.dumps({"path": scope["path"], "who": who}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


handler = Mangum(app, lifespan="off")
