"""Map and reduce: a session of the map's tasks, and of tasks that make one value of their results."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from htcgrid_core.client.combining import Chunks, Combined, reduced
from htcgrid_core.client.session import Session
from htcgrid_core.client.signatures import check_takes_event
from htcgrid_core.client.vectors import check_vector
from htcgrid_core.domain.errors import InvalidInput, TaskFailed
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.reducers.base import Reducer

Function = str | Callable[..., Any]


def map_reduce(
    submit: Callable[..., Session],
    map_function: Function,
    events: Iterable[Any],
    reduce_function: Function | Reducer[Any, Any],
    *,
    group_size: int | None,
    chunk_size: int | None,
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
    if isinstance(reduce_function, Reducer):
        if group_size is not None:
            raise InvalidInput("group_size is of reduce functions; of a reducer, chunk_size says how much is combined")
        return _combined(steps, map_function, events, reduce_function, chunk_size, errors, options)
    if chunk_size is not None:
        raise InvalidInput("chunk_size is of reducers (htcgrid_core.reducers); of a reduce function, say group_size")
    values = _values(steps.run("map", map_function, events), errors)
    for level in itertools.count(1):
        groups = [list(values)] if group_size is None else _groups(values, group_size)
        reduced = steps.run(f"reduce {level}", reduce_function, groups)
        values = reduced.results()
        if reduced.progress().total == 1:
            return next(values)
    raise AssertionError("the levels do not end")


def _combined(
    steps: _Steps,
    function: Function,
    events: Iterable[Any],
    reducer: Reducer[Any, Any],
    chunk_size: int | None,
    errors: Literal["raise", "skip"],
    options: dict[str, Any],
) -> Any:
    """Results are combined in the tasks of a callable; those of a named function, whose code is elsewhere, here."""
    if isinstance(function, str):
        if chunk_size is not None:
            raise InvalidInput(f"{function!r} gets one event at a time: chunk_size is for callables")
        return reduced(steps.run("map", function, events), reducer, None, errors)
    if chunk_size is not None and chunk_size < 1:
        raise InvalidInput(f"chunk_size={chunk_size}: 1 or more")
    if options.get("codec") not in (None, "pickle"):
        raise InvalidInput("what a reducer keeps is pickled: codec has to be so, too")
    check_vector(events)
    check_takes_event(function)
    policy = RetryPolicy.of(options.get("retry"), RetryPolicy()) if errors == "skip" else None
    chunks = Chunks(events, chunk_size)
    session = steps.run("map", Combined(function, reducer, policy), chunks)
    return reduced(session, reducer, chunks.sizes, errors)


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
