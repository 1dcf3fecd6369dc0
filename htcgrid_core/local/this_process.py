"""Who acts where nobody has signed in: this process, as the audit names it."""

from __future__ import annotations

import os


def actor() -> str:
    """Its user, host and id."""
    return f"{os.environ.get('USER') or os.getuid()}@{os.uname().nodename}:{os.getpid()}"
