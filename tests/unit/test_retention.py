"""How long tenants' sessions are kept: by default, at most, and for longer than 60 days where that is permitted."""

from __future__ import annotations

from pathlib import Path

import pytest

from htcgrid_core.codecs.submission import Submission
from htcgrid_core.domain.agent_version import LONG_RETENTION_AGENT_VERSION, min_agent_version
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.retention import STANDARD, Retention
from htcgrid_core.local import kept
from htcgrid_core.ports.plane import Plane
from tests.planes import spec, still_grid

DAY = 86400.0
RULES = Retention.read(
    b'{"*": {"default_days": 2}, "rates": {"default_days": 30, "max_days": 3650}, "fx": {"max_days": 1}}'
)


@pytest.mark.parametrize(
    ("rules", "tenant", "default", "most"),
    [
        (STANDARD, "rates", 7, 60), (RULES, "rates", 30, 3650), (RULES, "credit", 2, 60),
        (RULES, "fx", 1, 1),
        (Retention.read(b'{"fx": {"max_days": 1}}'), "fx", 1, 1),
    ],
)  # fmt: skip
def test_what_a_tenant_gets(rules: Retention, tenant: str, default: float, most: float) -> None:
    """Who is not named gets everybody's, and a default is never above the maximum."""
    asked = {"tenant": tenant}
    assert rules.applied(spec(**asked)).retention_seconds == default * DAY
    assert rules.applied(spec(**asked, retention_seconds=most * DAY)).retention_seconds == most * DAY
    with pytest.raises(InvalidInput, match=f"keeps sessions for {most:g} days at most"):
        rules.applied(spec(**asked, retention_seconds=most * DAY + 1))


def test_a_name_that_no_tenant_can_have() -> None:
    with pytest.raises(InvalidInput, match=r"'Rates' can be no tenant's name: .*, or \* for all others"):
        Retention.read(b'{"Rates": {"max_days": 1}}')


def test_seven_days_that_were_asked_for_are_seven() -> None:
    """Though they are the default of those who do not say; also over HTTP."""
    for asked, days in ((spec(tenant="rates", retention_seconds=7 * DAY), 7), (spec(tenant="rates"), 30)):
        sent = Submission.read(Submission("s-0001", asked, 1).write()).spec
        assert RULES.applied(sent).retention_seconds == days * DAY


def test_what_is_wrong_with_the_file(tmp_path: Path) -> None:
    """It is told, and nothing is submitted."""
    path = tmp_path / "retention.json"
    for text, said in (
        ("{", "JSON"), ('{"rates": {"max": 1}}', "rates.max"), ('{"rates": {"max_days": -1}}', "greater than 0"),
        ('{"*": {"max_days": 3}, "rates": {"default_days": 5}}', "above the 3 permitted"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(InvalidInput, match=said):
            kept.retention({"HTCGRID_RETENTION": str(path)}, STANDARD)
    path.write_text('{"rates": {"max_days": 90}}')
    assert kept.retention({"HTCGRID_RETENTION": str(path)}, STANDARD).days_of("rates") == (7, 90)
    with pytest.raises(InvalidInput, match="cannot be read"):
        kept.retention({"HTCGRID_RETENTION": str(tmp_path)}, STANDARD)


def test_sessions_are_kept_as_their_tenant_may(plane: Plane) -> None:
    """And what older agents could not read asks for newer ones."""
    object.__setattr__(plane, "retention", lambda: RULES)
    grid = still_grid(plane)
    usual = grid.submit(_same, [1], tenant="rates").record
    assert (usual.retention_seconds, min_agent_version(usual.spec)) == (30 * DAY, 1)
    long = grid.submit(_same, [1], tenant="rates", retention=3650 * DAY).record
    assert (long.retention_seconds, min_agent_version(long.spec)) == (3650 * DAY, LONG_RETENTION_AGENT_VERSION)
    before = grid.sessions()
    with pytest.raises(InvalidInput, match=r"61 days was asked for, and tenant credit keeps .* 60 days"):
        grid.submit(_same, [1], tenant="credit", retention=61 * DAY)
    assert len(grid.sessions()) == len(before)


def _same(event: int) -> int:
    return event
