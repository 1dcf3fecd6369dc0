"""Map and reduce: a session of the map's tasks, and of tasks that make one value of their results."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from htcgrid_core.client.session import Session
from htcgrid_core.domain.errors import InvalidInput, TaskFailed

Function = str | Callable[..., Any]


def map_reduce(
    submit: Callable[..., Session],
    map_function: Function,
    events: Iterable[Any],
    reduce_function: Function,
    *,
    group_size: int | None,
    errors: Literal["raise", "skip"],
    progress: bool,
    options: dict[str, Any],
) -> Any:
    """See ``Grid.map_reduce``.

    Args:
        submit: as ``Grid.submit``.
    """
    if group_size is not None and group_size < 2:
        raise InvalidInput(f"a group of {group_size} results makes no fewer of them: group_size is 2 or more")
    steps = _Steps(submit, progress, options)
    values = _values(steps.run("map", map_function, events), errors)
    for level in itertools.count(1):
        groups = [list(values)] if group_size is None else _groups(values, group_size)
        reduced = steps.run(f"reduce {level}", reduce_function, groups)
        values = reduced.results()
        if reduced.progress().total == 1:
            return next(values)
    raise AssertionError("the levels do not end")


class _Steps:
    """Sessions one after the other, with one set of options; one without a token is cancelled with its caller."""

    def __init__(self, submit: Callable[..., Session], progress: bool, options: dict[str, Any]) -> None:
        self._submit = submit
        self._progress = progress
        self._options = options

    def run(self, step: str, function: Function, events: Iterable[Any]) -> Session:
        """Submit one, and wait for its end."""
        name, token = self._options.get("name"), self._options.get("token")
        own = {"name": f"{name}: {step}" if name else step, "token": f"{token}/{step}" if token else None}
        session = self._submit(function, events, **{**self._options, **own})
        try:
            session.wait(progress=self._progress)
        except BaseException:
            if token is None:
                session.cancel("whoever waited to reduce its results has gone")
            raise
        return session


def _values(session: Session, errors: str) -> Iterator[Any]:
    if errors == "raise":
        return session.results()
    session.raise_for_state()  # more failed than max_failures tolerates
    return (value for value in session.results(errors="return") if not isinstance(value, TaskFailed))


def _groups(values: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """Lists of up to ``size`` results; one, empty, if there are none."""
    yield list(itertools.islice(values, size))
    while group := list(itertools.islice(values, size)):
        yield group
