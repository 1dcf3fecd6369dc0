"""What a callable raised, as a pickle that is loaded as what it was."""

from __future__ import annotations

import contextlib
import pickle
from typing import Any

from htcgrid_core.codecs.values import decode_pickle, encode_pickle


class _Remade:
    """Pickles as an exception that is made without its constructor."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        error = self._error
        return _made, (type(error), error.args), error.__dict__ or None


def _made(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    made = kind.__new__(kind, *args)
    made.args = args
    return made


def encode_exception(error: BaseException) -> bytes:
    """Pickle an exception; empty if it would not be loaded as what it is, type and text, where its class is known.

    By default an exception is loaded by calling its class with what it passed on to Exception, often another text.
    """
    for candidate in (error, _Remade(error)):
        with contextlib.suppress(BaseException):  # whatever the user's class raises
            pickled = encode_pickle(candidate)
            loaded = decode_pickle(pickled)
            if type(loaded) is type(error) and str(loaded) == str(error):
                return pickled
    return b""


def decode_exception(pickled: bytes) -> BaseException | None:
    """The exception; None where it cannot be loaded, or is none. Its signature was verified."""
    try:
        loaded = pickle.loads(pickled)  # noqa: S301 - its signature was verified
    except KeyboardInterrupt:
        raise  # Ctrl-C of whoever reads
    except BaseException:  # noqa: BLE001 - its class may not exist here, or its constructor refuse
        return None
    return loaded if issubclass(type(loaded), BaseException) else None  # or its worker wrote something else
