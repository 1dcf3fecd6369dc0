"""Assets that upstream task runs have made or read, on their way to the worker of a call that takes their results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:  # a worker loads Prefect once its settings are in the environment
    from prefect.assets import Asset

_ASSETS = "htcgrid.assets"


def with_assets(wait_for: list[Any] | None, assets: Mapping[UUID, set[Asset]]) -> list[Any] | None:
    """What a call waits for, and beside it the assets by upstream run.

    In a plain dict there, which workers of the release before take for one more thing without a state.
    """
    return [*(wait_for or ()), {_ASSETS: dict(assets)}] if assets else wait_for


def assets_in(wait_for: Any) -> tuple[Any, dict[UUID, set[Asset]]]:
    """Undo ``with_assets``."""
    if wait_for and isinstance(wait_for[-1], dict) and _ASSETS in wait_for[-1]:
        return wait_for[:-1] or None, wait_for[-1][_ASSETS]
    return wait_for, {}
