"""What the canaries are let loose in."""

from __future__ import annotations

import os
import threading
import time
from typing import Any


def environment(event: Any, context: Any) -> dict[str, str]:
    """Everything a handler sees of its environment."""
    return dict(os.environ)


def misbehave(event: Any, context: Any) -> Any:
    """Fail in the way the event asks for, without telling of its secret."""
    match event["how"]:
        case "raise":
            raise RuntimeError("it failed")
        case "die":
            os._exit(3)
        case "hang":
            time.sleep(60)
        case "nonsense":
            return threading.Lock()
    return len(event["secret"])
