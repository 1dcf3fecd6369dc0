"""Sessions and results outlive an upgrade, and agents may run the release before: pickles name what both have."""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle
import pytest

import htcgrid_core
from htcgrid_core.domain import errors
from tests.pickles import samples
from tests.pickles.release_before import names, names_in, names_pickled_by, pickles_of

WRITTEN = pickles_of("core")


@pytest.fixture(scope="module")
def written_now() -> dict[str, Any]:
    return samples.core()


@pytest.mark.parametrize("name", WRITTEN)
def test_what_the_release_before_has_pickled_is_loaded(name: str, written_now: dict[str, Any]) -> None:
    loaded = pickle.loads(WRITTEN[name])
    if isinstance(written_now[name], BaseException):
        assert (type(loaded), str(loaded)) == (type(written_now[name]), str(written_now[name]))
    else:
        assert repr(loaded) == repr(written_now[name])
        assert type(loaded) is type(written_now[name])


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_pickled_names_only_what_the_release_before_has(name: str, written_now: dict[str, Any]) -> None:
    """Its agents and clients load it: a class that moves says the old path, or its public one, as its module."""
    for dumps in (pickle.dumps, cloudpickle.dumps):
        found = names_in(dumps(written_now[name], protocol=5))
        assert found, "it is ours, and so it has a name of ours in it"
        assert {each for each in found if each.startswith("htcgrid_")} <= names()
        assert not {each for each in found if each.startswith("cloudpickle")}, "it is sent by value"


@pytest.mark.parametrize(
    ("module", "name"),
    [("htcgrid_core.domain.task_error", "TaskError"), ("htcgrid_core.agent.workers.context", "Context")],
)
def test_a_class_that_says_another_module_is_never_sent_by_value(module: str, name: str) -> None:
    assert names_pickled_by(module, name) == {f"htcgrid_core:{name}"}


OWN_ARGUMENTS = (
    errors.InvalidEvent(7, "it is not JSON"),
    errors.InvalidEvents("book.jsonl", [errors.EventProblem(3, "notional", "it is no number")], 1, 9),
    errors.NotTabular("a result is nested too deep"),
    errors.SessionNotFound("session"),
    errors.TaskFailed("session", 7, htcgrid_core.TaskError("ValueError", "no good")),
    errors.SessionFailed("session", "FAILED", "too many", []),
)


@pytest.mark.parametrize("error", OWN_ARGUMENTS, ids=lambda error: type(error).__name__)
def test_an_error_with_arguments_of_its_own_comes_back_from_a_task_as_it_was(error: errors.GridError) -> None:
    loaded = pickle.loads(pickle.dumps(error))
    assert (type(loaded), str(loaded), vars(loaded).keys()) == (type(error), str(error), vars(error).keys())


def test_no_error_with_arguments_of_its_own_is_left_out() -> None:
    own = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.GridError) and "__init__" in vars(kind)
    }
    assert own == set(map(type, OWN_ARGUMENTS))
