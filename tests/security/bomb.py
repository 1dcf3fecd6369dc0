"""A pickle that shows whether it was loaded."""

from __future__ import annotations

import pickle
from pathlib import Path


class _Touch:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._path,)


class Bomb:
    """Pickled bytes that make a file when they are loaded.

    Attributes:
        data: the bytes.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "the bomb went off"
        self.data = pickle.dumps(_Touch(self.path))

    @property
    def went_off(self) -> bool:
        """Whether anybody loaded it."""
        return self.path.exists()
