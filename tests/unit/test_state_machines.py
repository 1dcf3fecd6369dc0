"""The definitions in example_dags/step_functions: what every state that waits for a session needs is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.domain.session_event import CANCELLED, DEADLINE, SESSION_FAILED, SUBMISSION_REFUSED

LONGEST_FUNCTION_SECONDS = 900
FOLDER = Path(__file__).parents[2] / "example_dags" / "step_functions"
OURS = {SESSION_FAILED, CANCELLED, DEADLINE, SUBMISSION_REFUSED}
MACHINE = json.loads((FOLDER / "book.asl.json").read_text())
WAITING = {
    "book.asl.json": MACHINE["States"]["FanOut"],
    **{path.name: json.loads(path.read_text()) for path in FOLDER.glob("fan_out_*.json")},
}


@pytest.mark.parametrize("state", WAITING.values(), ids=WAITING)
def test_a_state_that_waits(state: Any) -> None:
    assert state["Resource"].endswith(".waitForTaskToken")
    assert "$$.Task.Token" in json.dumps(state["Parameters"])
    assert "$$.Execution.Id" in json.dumps(state["Parameters"]), "its idempotency token outlives a retry"
    assert 180 <= state["HeartbeatSeconds"] < state["TimeoutSeconds"]
    assert any("States.Timeout" in retry["ErrorEquals"] for retry in state["Retry"])
    caught = {name for catch in state["Catch"] for name in catch["ErrorEquals"]}
    assert {SESSION_FAILED, CANCELLED, DEADLINE} <= caught <= OURS


@pytest.mark.parametrize("name", ["FanOut", "Report"])
def test_what_passes_is_tried_again(name: str) -> None:
    """A function that was out of time or killed, and Lambda's own trouble; the state outlives the function."""
    state = MACHINE["States"][name]
    retried = {error for retry in state["Retry"] for error in retry["ErrorEquals"]}
    assert retried >= {
        "GridUnavailable", "Lambda.AWSLambdaException", "Lambda.SdkClientException", "Lambda.ServiceException",
        "Lambda.TooManyRequestsException", "Lambda.Unknown", "Sandbox.Timedout",
    }  # fmt: skip
    assert state["TimeoutSeconds"] > LONGEST_FUNCTION_SECONDS, "or it is told States.Timeout, which is another thing"


@pytest.mark.parametrize("state", WAITING.values(), ids=WAITING)
def test_every_next_state_exists(state: Any) -> None:
    """Of the machine with this state in the place of its own."""
    states = {**MACHINE["States"], "FanOut": state}
    named = {state["Next"] for state in states.values() if "Next" in state}
    named |= {catch["Next"] for state in states.values() for catch in state.get("Catch", ())}
    named |= {choice["Next"] for state in states.values() for choice in state.get("Choices", ())}
    assert named <= set(states)
    assert set(states) == named | {MACHINE["StartAt"], MACHINE["States"]["Branch"]["Default"]}
