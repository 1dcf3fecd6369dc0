"""Links from sessions to what they belong to: what an operator may set."""

from __future__ import annotations

import pytest

from htcgrid_core.api.links import Link
from htcgrid_core.domain.errors import InvalidInput


def test_a_link_has_a_name_and_an_address_with_labels() -> None:
    link = Link.read("Airflow run=https://airflow.example/dags/{airflow.dag}/runs/{airflow.run}?tab=a=b")
    assert link.name == "Airflow run"
    assert link.template.endswith("{airflow.run}?tab=a=b")


@pytest.mark.parametrize(
    "text",
    [
        "https://host/{a}",  # no name
        "=https://host/{a}",
        "x=javascript:alert({a})",
        "x=data:text/html,{a}",
        "x=//host/{a}",
        "x=/runs/{a}",
        "x=https://{a}/runs",  # whoever submits would say where it leads to
        "x=https://host{a}.example/",
        "x=https://user@host/{a}",
        "x=https://host/runs",  # the same for all sessions
        "x=https://host/{a}/{b",
        "x=https://host/{}",
        "x=https://[::1/{a}",
    ],
)
def test_what_is_no_link_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Link.read(text)
