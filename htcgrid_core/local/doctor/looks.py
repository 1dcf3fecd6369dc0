"""Looks in the order in which they rest on each other; one that fails is a finding, too."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping

from htcgrid_core.local.doctor.finding import Finding, Findings, Verdict, problem, warning

Look = Callable[[], Findings]


def in_order(looks: Mapping[str, Look]) -> Generator[Finding, None, bool]:
    """The findings of one look after the other, up to the first problem; whether all were looked at."""
    left = dict(looks)
    while left:
        name = next(iter(left))
        found = list(guarded(name, left.pop(name)))
        yield from found
        if any(finding.verdict is Verdict.PROBLEM for finding in found):
            if left:
                yield warning(", ".join(left), "not looked at", "mend the problem above, then ask again")
            return False
    return True


def guarded(name: str, look: Look) -> Findings:
    """The look's findings; one that fails is a finding too."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except Exception as error:  # noqa: BLE001 - the doctor must not faint, whatever it meets
        found.append(problem(name, f"cannot be looked at: {type(error).__name__}: {error}", "see the error"))
    yield from found
