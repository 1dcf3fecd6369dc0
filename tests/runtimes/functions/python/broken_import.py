from typing import Any

import no_such_module_anywhere  # type: ignore[import-not-found]  # what is tested


def handler(event: Any, context: Any) -> Any:
    return no_such_module_anywhere
