"""Looks at AWS, each of which takes a permission: without it, that is what is found, and others go on."""

from __future__ import annotations

from htcgrid_core.domain.errors import AccessDenied, GridError
from htcgrid_core.local.doctor.finding import Finding, Findings, problem, warning
from htcgrid_core.local.doctor.looks import Look


def permitted(check: str, action: str, look: Look, *, needed: bool = False) -> Findings:
    """The look's findings.

    Args:
        action: of IAM, that the look takes.
        needed: by whoever uses the grid, too, and not only by the doctor.
    """
    found: list[Finding] = []
    try:
        found.extend(look())
    except AccessDenied as error:
        found.append((problem if needed else warning)(check, f"not looked at: {error}", f"allow {action}"))
    except GridError as error:
        found.append(problem(check, str(error), "mend what it says"))
    yield from found
