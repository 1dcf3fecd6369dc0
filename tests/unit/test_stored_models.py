"""What is stored as JSON: what this release writes is what older ones expect, and what newer ones write can be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from htcgrid_core.domain.agent_version import AGENT_VERSION, min_agent_version
from htcgrid_core.domain.errors import IncompatibleGrid
from htcgrid_core.domain.function import Environment, FunctionSpec, FunctionVersion, Package
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.domain.stored import Stored

ENVIRONMENT = Environment(python="/usr/bin/python3", cwd="/home/somebody")
PACKAGE = Package(function="price", version=3, handler="book.price", runtime="python3.11")
FUNCTION = FunctionSpec(name="price:3", blob="packages/1", environment=ENVIRONMENT, package=PACKAGE)
SPEC = SessionSpec(function=FUNCTION)
VERSION = FunctionVersion(
    **PACKAGE.model_dump(), blob="packages/1", content="c", files=1, unpacked_bytes=2, package_bytes=3
)

# What the first release wrote for SPEC and VERSION, to the letter: it refuses a field that it does not know, and
# digests of a session's identity are compared between releases.
FIRST_SPEC = (
    '{"function":{"name":"price:3","blob":"packages/1","call":"handler","environment":{"python":"/usr/bin/python3",'
    '"path":[],"cwd":"/home/somebody"},"package":{"function":"price","version":3,"handler":"book.price",'
    '"runtime":"python3.11","variables":{}}},"codec":"json","name":"","task_timeout_seconds":null,'
    '"timeout_seconds":null,"retry":{"max_attempts":3,"backoff_base_seconds":1.0,"backoff_cap_seconds":60.0,'
    '"never_retry":[]},"max_failures":null,"memory_mb":null,"priority":"normal","pool":"default","tenant":"default",'
    '"labels":{},"parent_id":null,"retention_seconds":604800.0,"bundle_size":null,"agents":1,"traceparent":"",'
    '"tracestate":""}'
)
FIRST_IDENTITY = (
    '{"function":{"name":"price:3","blob":"packages/1","call":"handler","package":{"function":"price","version":3,'
    '"handler":"book.price","runtime":"python3.11","variables":{}}},"codec":"json","name":"",'
    '"task_timeout_seconds":null,"timeout_seconds":null,"retry":{"max_attempts":3,"backoff_base_seconds":1.0,'
    '"backoff_cap_seconds":60.0,"never_retry":[]},"max_failures":null,"memory_mb":null,"priority":"normal",'
    '"pool":"default","tenant":"default","labels":{},"parent_id":null,"retention_seconds":604800.0}'
)
FIRST_VERSION = (
    '{"function":"price","version":3,"handler":"book.price","runtime":"python3.11","variables":{},"blob":"packages/1",'
    '"content":"c","files":1,"unpacked_bytes":2,"package_bytes":3,"timeout_seconds":null,"memory_mb":null,'
    '"description":"","deployed_at":0.0,"deployed_by":""}'
)


def test_a_submission_without_new_options_is_what_the_first_release_wrote() -> None:
    assert SPEC.text == FIRST_SPEC
    assert SPEC.identity() == FIRST_IDENTITY
    assert VERSION.model_dump_json() == FIRST_VERSION


def test_a_new_field_is_written_only_if_it_is_used() -> None:
    newer = SPEC.model_copy(update={"min_agent_version": AGENT_VERSION + 1})
    assert json.loads(newer.text) == json.loads(FIRST_SPEC) | {"min_agent_version": AGENT_VERSION + 1}
    assert newer.identity() == SPEC.identity(), "what asks for such agents is what differs, if anything does"


class Later(Stored):
    """A model of which the first release knew nothing."""

    needed: int
    listed: list[int] = []  # noqa: RUF012 - pydantic copies it
    nested: RetryPolicy = RetryPolicy()


def test_a_field_that_somebody_adds_is_left_out_at_its_default() -> None:
    assert Later(needed=1).model_dump_json() == '{"needed":1}'
    assert json.loads(Later(needed=1, listed=[2]).model_dump_json()) == {"needed": 1, "listed": [2]}


@pytest.mark.parametrize("where", [(), ("retry",), ("function",), ("function", "environment"), ("function", "package")])
def test_what_a_newer_release_wrote_beside_is_ignored(where: tuple[str, ...]) -> None:
    stored: dict[str, Any] = json.loads(FIRST_SPEC)
    place = stored
    for name in where:
        place = place[name]
    place["of_a_newer_release"] = {"any": "thing"}
    assert SessionSpec.stored(json.dumps(stored)) == SPEC
    assert FunctionVersion.stored(json.dumps(json.loads(FIRST_VERSION) | {"new": 1})) == VERSION


@pytest.mark.parametrize("model", [SPEC, SPEC.retry, FUNCTION, ENVIRONMENT, PACKAGE, VERSION])
def test_what_a_caller_misspells_is_refused(model: Stored) -> None:
    given = model.model_dump() | {"max_atempts": 5}
    with pytest.raises(ValidationError, match="max_atempts"):
        type(model)(**given)
    with pytest.raises(ValidationError, match="max_atempts"):
        type(model).model_validate(given)


@pytest.mark.parametrize("model", [SPEC, VERSION])
def test_what_asks_for_a_newer_release_is_not_taken_for_less(model: Stored) -> None:
    """Also if the rest of it is in words that this release does not know."""
    stored = json.loads(model.model_dump_json()) | {"min_agent_version": AGENT_VERSION + 1, "priority": "of tomorrow"}
    with pytest.raises(IncompatibleGrid, match=f"version {AGENT_VERSION + 1} .*knows version {AGENT_VERSION}: use"):
        type(model).stored(json.dumps(stored))


@pytest.mark.parametrize("text", [FIRST_SPEC.replace('"normal"', '"of tomorrow"'), "{", "[]", "", '{"function":1}'])
def test_what_cannot_be_read_is_one_clear_error(text: str) -> None:
    assert min_agent_version(text) == 1
    with pytest.raises(IncompatibleGrid, match="a stored SessionSpec cannot be read"):
        SessionSpec.stored(text)
