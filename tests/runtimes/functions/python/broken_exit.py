import os
from typing import Any

os._exit(9)


def handler(event: Any, context: Any) -> Any:
    return event
