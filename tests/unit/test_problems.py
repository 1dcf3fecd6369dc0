"""Problems: what a server raises is what its client raises."""

from __future__ import annotations

import json

import pytest

from htcgrid_core.codecs import problems
from htcgrid_core.codecs.problems import KINDS, error_of, problem_of
from htcgrid_core.domain import errors

SAME = [
    errors.InvalidInput("no"),
    errors.InvalidPackage("no"),
    errors.FunctionNotFound("no"),
    errors.SessionConflict("no"),
    errors.SessionNotFinished("no"),
    errors.IllegalTransition("no"),
    errors.IncompatibleGrid("no"),
    errors.ResultTooLarge("no"),
    errors.NotOffered("no"),
    errors.WouldDeadlock("no"),
    errors.SignatureInvalid("no"),
    errors.CorruptPayload("no"),
    errors.GridUnavailable("no"),
    errors.InvalidEvent(7, "it is not JSON"),
    errors.SessionNotFound("s-gone"),
]


@pytest.mark.parametrize("error", SAME, ids=lambda error: type(error).__name__)
def test_an_exception_comes_back(error: errors.GridError) -> None:
    body = json.loads(json.dumps(problem_of(error).to_json()))
    raised = error_of(body["status"], body)
    assert (type(raised), str(raised)) == (type(error), str(error))
    assert body["type"] == problems.TYPE_PREFIX + body["code"]
    if isinstance(error, errors.InvalidEvent):
        assert isinstance(raised, errors.InvalidEvent)
        assert raised.index == 7


@pytest.mark.parametrize("error", [errors.AccessDenied("no"), errors.CredentialsExpired("no")])
def test_the_servers_own_credentials_are_not_its_clients(error: errors.GridError) -> None:
    problem = problem_of(error)
    assert isinstance(error_of(problem.kind.status, problem.to_json()), errors.GridUnavailable)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, errors.AccessDenied),
        (403, errors.AccessDenied),
        (404, errors.InvalidInput),
        (429, errors.GridUnavailable),
        (502, errors.GridUnavailable),
    ],
)
def test_answers_of_proxies_count_by_their_status(status: int, expected: type[errors.GridError]) -> None:
    assert type(error_of(status, {})) is expected


def test_codes_are_fixed() -> None:
    assert all(code == kind.code for code, kind in KINDS.items())
    assert all(400 <= kind.status < 600 for kind in KINDS.values())
