"""The grid that is meant where none is named."""

from __future__ import annotations

import os
import shlex

URL_VARIABLE = "HTCGRID_URL"
DEFAULT_URL = "local://"


def unsaid_url() -> str:
    """``$HTCGRID_URL``, or the embedded grid of this user."""
    return os.environ.get(URL_VARIABLE) or DEFAULT_URL


def url_option(url: str) -> str:
    """What a command needs behind it to ask this grid; nothing if it would without."""
    return "" if url == unsaid_url() else f" --url {shlex.quote(url)}"
