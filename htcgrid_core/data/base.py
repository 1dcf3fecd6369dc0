"""What all sources are: named, of an identity from which a token is made, and typed."""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from htcgrid_core.client.files.typed_events import TypedEvents
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.extras import how_to_install

_PASSWORD = re.compile(r"(://[^/@:\s]*):(?!\d+/)\S*@")
_PARAMETERS = re.compile(r"(://[^?\s]*)\?[^/?\s]*=\S*")  # of a URI, such as a signature; a lone ? is a wildcard


class Source(TypedEvents):
    """Events of a place. Each iteration reads it anew.

    Attributes:
        name: what errors call it, without secrets.
    """

    name: str

    @property
    def is_ordered(self) -> bool:
        """Whether each reading of the same input is in the same order."""
        return True

    @property
    def is_pinned(self) -> bool:
        """Whether a second reading gives the same rows or an error, whatever becomes of the input meanwhile."""
        return self.is_ordered

    @abstractmethod
    def identity(self) -> str:
        """Text that is another one when the input is another."""

    @abstractmethod
    def rows(self, *, as_json: bool) -> Iterator[Any]:
        """The events, with Python's own values or as JSON has them."""

    def __iter__(self) -> Iterator[Any]:
        return self.rows(as_json=False)

    def as_json(self) -> Iterator[Any]:
        """The events as a named handler gets them."""
        return self.rows(as_json=True)

    def token(self, name: str) -> str:
        """An idempotency token for one use of this input: the same as long as the input is.

        Args:
            name: of the use, such as ``price``: another function over the same input needs another token.
        """
        return f"{name}/{digest_of(self.identity())}"

    def __repr__(self) -> str:
        return f"<source {self.name}>"


def digest_of(text: str) -> str:
    """Text in 32 characters."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def shown(text: str) -> str:
    """A URI, or text with some in it, as messages, manifests and tokens have it: without passwords and signatures."""
    return _PARAMETERS.sub(r"\1", _PASSWORD.sub(r"\1:***@", text))


def missing(what: str, package: str, error: ImportError) -> InvalidInput:
    """What is raised where a library is not installed."""
    return InvalidInput(f"{shown(what)} needs {package}: {how_to_install('data')} ({error})")
