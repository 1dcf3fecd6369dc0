"""The costs that the documents compute, beside those that were counted at the wire."""

from __future__ import annotations

import pytest

from tools.docs import costs, terraform

MEASURED = costs.measured()


def test_every_size_of_bundle_is_found() -> None:
    assert [size for size, *_ in MEASURED] == [1, 8, 32, 128, 256]


@pytest.mark.parametrize(("size", "writes", "reads", "counted"), MEASURED)
def test_a_million_tasks_cost_what_was_counted(size: int, writes: float, reads: float, counted: float) -> None:
    """At worst: so not less but for rounding, and not much more."""
    assert 0.98 * counted <= sum(costs.dollars(size, writes, reads)) <= 1.2 * counted


def test_an_idle_grid_is_what_the_modules_make_of_it() -> None:
    """Endpoints and zones are counted in the module's own defaults."""
    names = terraform.default("network", "interface_endpoints").strip("[]").split(", ")
    assert f"| {len(names)} interface endpoints in {terraform.default('network', 'zones')} zones |" in costs.idle()


def test_a_type_of_several_lines_is_one() -> None:
    body = """  type = object({
    reads  = optional(number, 12000)
    writes = number
  })
  default = null
"""
    assert terraform.argument(body, "type") == "object({ reads = optional(number, 12000), writes = number })"
    assert terraform.argument(body, "default") == "null"
    assert terraform.argument(body, "description") is None
