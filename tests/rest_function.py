"""The REST API's function over a grid on this machine: what ``htcgrid_core.lambdas.rest_api`` is over one on AWS."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from htcgrid_core.api.auth.authenticator import Authenticator, KeyWay
from htcgrid_core.api.auth.kept_keys import KeptKeys
from htcgrid_core.api.on_lambda import PAGE_BYTES, SETTINGS, LambdaApi
from htcgrid_core.gateway.opening import open_served


@lru_cache(maxsize=1)
def _opened() -> LambdaApi:
    file = Path(os.environ["HTCGRID_KEY_FILE"])
    ways = [KeyWay(KeptKeys(str(file), file.read_text))]
    settings = replace(SETTINGS, page_bytes=int(os.environ.get("HTCGRID_TEST_PAGE_BYTES", PAGE_BYTES)))
    return LambdaApi(open_served(os.environ["HTCGRID_URL"]), Authenticator(ways), settings)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See ``htcgrid_core.lambdas.rest_api``."""
    return _opened().answer(event, context) if "requestContext" in event else _opened().submit_uploads(20)
