"""Settings of the integration: environment, ``.env``, profile, ``prefect.toml`` or ``pyproject.toml``, as Prefect's."""

from __future__ import annotations

from typing import Literal

from prefect.settings.base import PrefectBaseSettings, build_settings_config
from pydantic import Field


class HTCGridSettings(PrefectBaseSettings):
    """What is used where neither a block nor an argument says otherwise.

    Each is set as ``PREFECT_INTEGRATIONS_HTCGRID_`` and its name in capitals.
    """

    model_config = build_settings_config(("integrations", "htcgrid"))

    url: str | None = Field(
        default=None, description="The grid's URL. None for HTCGRID_URL, and the embedded grid without it."
    )
    pool: str = Field(default="default", description="The pool of agents that sessions queue for.")
    priority: Literal["high", "normal", "low"] = Field(
        default="normal", description="How sessions rank among those of their pool."
    )
    tenant: str = Field(default="default", description="On whose behalf sessions run.")
    allow_pickle: bool = Field(
        default=False,
        description="Load pickled results of an https:// grid, which lets its server run code where the flow runs. "
        "Tasks and callables need it.",
    )
    progress_interval_seconds: float = Field(
        default=2.0, gt=0, description="How often a session's progress artifact is updated, in seconds."
    )
    failures_shown: int = Field(
        default=100, ge=0, description="How many failed tasks the table artifact of a session lists."
    )
