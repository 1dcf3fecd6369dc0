"""Items that are not what any of us wrote: whoever reads them is told of which session they are."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

from htcgrid_core.domain.errors import CorruptPayload, GridError

M = TypeVar("M", bound=Callable[..., Any])

# What is missing, of another type, or cannot be unpacked.
_DAMAGED = (LookupError, TypeError, ValueError, AttributeError, zlib.error)


def of_one_session(method: M) -> M:
    """A method whose first argument is a session's id: what it cannot read is CorruptPayload."""

    @functools.wraps(method)
    def checked(self: object, session_id: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, session_id, *args, **kwargs)
        except GridError:
            raise
        except _DAMAGED as error:
            text = f"an item of session {session_id} cannot be read: {type(error).__name__}: {error}"
            raise CorruptPayload(text) from error

    return cast("M", checked)
