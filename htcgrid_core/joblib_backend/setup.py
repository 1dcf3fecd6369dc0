"""What a worker's process has to be like before it runs calls: initialized, and with so many threads a library."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from joblib.parallel import ParallelBackendBase

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.extras import how_to_install

_initialized: set[str] = set()  # names of setups whose initializer this process has called


@dataclass(frozen=True)
class Setup:
    """Of one ``Parallel``.

    Attributes:
        initializer: called with ``initargs`` once in each worker process, before its first call.
        threads: that each library begins; None for the cores of a slot.
        name: no other's.
    """

    initializer: Callable[..., object] | None = None
    initargs: tuple[Any, ...] = ()
    threads: int | None = None
    name: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def is_needed(self) -> bool:
        """Whether workers are not right as they are."""
        return self.initializer is not None or self.threads is not None

    def check(self) -> None:
        """Whether it makes sense, as far as can be told here.

        Raises:
            InvalidInput: it does not.
        """
        if self.initializer is not None and not callable(self.initializer):
            raise InvalidInput(f"initializer must be callable, and a {type(self.initializer).__name__} is not")
        if self.threads is None:
            return
        if type(self.threads) is not int or self.threads < 1:
            raise InvalidInput(f"inner_max_num_threads must be a whole number above 0, not {self.threads!r}")
        if importlib.util.find_spec("threadpoolctl") is None:
            raise InvalidInput(f"inner_max_num_threads needs threadpoolctl: {how_to_install('joblib')}")


def run_in(setup: Setup, batch: Callable[[], list[Any]]) -> list[Any]:
    """Run a batch of calls, in a worker that is set up."""
    with _threads(setup.threads):
        if setup.initializer is not None and setup.name not in _initialized:
            setup.initializer(*setup.initargs)
            _initialized.add(setup.name)
        return batch()


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let libraries begin ``count`` threads: those that are loaded, and those that read a variable when they are."""
    if count is None:
        yield
        return
    from threadpoolctl import threadpool_limits

    before = {name: os.environ.get(name) for name in ParallelBackendBase.MAX_NUM_THREADS_VARS}
    os.environ.update(dict.fromkeys(before, str(count)))
    try:
        with threadpool_limits(count):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
