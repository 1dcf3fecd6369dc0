"""What the documentation says of the repository as a whole: promises, dependencies, variables, what is not built."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from htcgrid_core.local.settings import PREFIX, AgentTimes
from tests.docs.pages import named_tests
from tools.docs.places import PACKAGE, REPOSITORY, documents

GUARANTEES = REPOSITORY / "docs" / "guarantees.md"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def _sections(text: str, level: str) -> dict[str, str]:
    """Heading to text, of one level of headings."""
    parts = re.split(rf"^{level} (.*)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_promise_has_its_weakness_and_its_tests() -> None:
    promises = _sections(GUARANTEES.read_text(), "###")
    assert {title.split()[0] for title in promises} >= {f"S{number}" for number in range(1, 12)}
    for title, text in promises.items():
        paragraph = text.split("\n\nHeld by")[0]
        assert "*Weakness:*" in paragraph, f"{title}: its weakness is missing"
        assert list(named_tests(text)) or "*Not tested yet" in text, f"{title}: nothing holds it"


SECURITY = REPOSITORY / "SECURITY.md"
CLAIM_NOTHING = ("Reporting", "What is not there yet")


def test_every_claim_of_security_has_its_tests() -> None:
    sections = _sections(SECURITY.read_text(), "##")
    assert {"Threat model", "Folders", "Workers and handlers"} <= sections.keys()
    for title, text in sections.items():
        if title not in CLAIM_NOTHING:
            assert list(named_tests(text)), f"{title}: nothing holds it"
            assert title == "Threat model" or "Held by:\n" in text, f"{title}: its tests are not listed"


def test_whatever_somebody_cannot_do_is_held_by_a_test() -> None:
    model = _sections(SECURITY.read_text(), "##")["Threat model"]
    for who, text in _sections(model, "###").items():
        _, cannot, listed = re.split(r"(cannot[^\n]*:\n)(?=- )", text, maxsplit=1)
        assert cannot
        claims = re.split(r"^- ", listed, flags=re.MULTILINE)[1:]
        assert claims, f"{who}: what they cannot do is not said"
        for claim in claims:
            assert list(named_tests(claim)), f"{who}: nothing holds {claim.splitlines()[0]!r}"


def _required(name: str) -> set[str]:
    lists = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    return {re.split(r"[\[<>=~!;]", requirement)[0].strip() for requirement in lists[name]}


@pytest.mark.parametrize("extra", ["", *PROJECT["optional-dependencies"]])
def test_every_dependency_is_explained(extra: str) -> None:
    rows = re.findall(r"^\| \[?`([^`]+)`", (REPOSITORY / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    assert _required(extra) - {"htcgrid"} <= set(rows)


def test_no_dependency_is_explained_that_is_not_one() -> None:
    rows = re.findall(r"^\| \[?`([^`]+)`", (REPOSITORY / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    listed = "\n".join(path.read_text() for path in (REPOSITORY / "requirements").glob("*.in"))
    benched = re.findall(r"^([\w-]+)", listed, re.MULTILINE)
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["build-system"]["requires"]
    packages = (REPOSITORY / "requirements").glob("*/package.json")
    npm = [name for path in packages for name in json.loads(path.read_text())["dependencies"]]
    known = {re.split(r"[\[<>=~!;]", name)[0] for name in [*benched, *build, *npm]}
    for extra in ("", *PROJECT["optional-dependencies"]):
        known |= _required(extra)
    assert set(rows) <= known


def _variables_in(paths: list[Path]) -> set[str]:
    return {name for path in paths for name in re.findall(r"\bHTCGRID_[A-Z_]*[A-Z]\b", path.read_text())}


def test_every_environment_variable_is_explained() -> None:
    read = _variables_in(sorted(PACKAGE.rglob("*.py"))) | {PREFIX + name.upper() for name in AgentTimes.model_fields}
    explained = _variables_in([REPOSITORY / "docs" / "configuration.md"])
    assert read <= explained


def test_no_environment_variable_is_invented() -> None:
    sources = [*PACKAGE.rglob("*.py"), *(REPOSITORY / "tests").rglob("*.py"), REPOSITORY / "Makefile"]
    known = _variables_in(sources) | {PREFIX + name.upper() for name in AgentTimes.model_fields}
    assert _variables_in(documents()) <= known


def test_the_changelog_has_this_version_or_what_is_to_come() -> None:
    assert "## [Unreleased]" in (REPOSITORY / "CHANGELOG.md").read_text()
