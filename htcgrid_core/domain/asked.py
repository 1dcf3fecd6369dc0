"""What a request or a rule asks of a session, under the names of ``Grid.submit``'s arguments."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, Field, field_validator

from htcgrid_core.domain.extent import Extent
from htcgrid_core.domain.function import Isolation
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.session import Label, Priority
from htcgrid_core.domain.stored import Stored


class Asked(Stored):
    """All of a session but its events and its token; checked further by whoever submits it.

    Attributes:
        function: ``module.handler``, or ``NAME`` or ``NAME:VERSION`` of one that was deployed.
        task_timeout, timeout, retention: seconds.
        retry: a policy, or how many attempts a task has in all.
        notify: destinations that are told of its end.
        extent: how many events are checked by their function's schema, called ``validate``.
    """

    function: str = Field(min_length=1, max_length=512)
    name: str = Field(default="", max_length=256)
    task_timeout: float | None = None
    timeout: float | None = None
    retry: RetryPolicy = RetryPolicy()
    max_failures: Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)] | None = None
    memory_mb: int | None = None
    isolation: Isolation | None = None
    priority: Priority = "normal"
    pool: str = "default"
    labels: dict[Label, Label] = Field(default_factory=dict)
    retention: float | None = None
    notify: tuple[str, ...] = ()
    extent: Extent = Field(default="all", validation_alias=AliasChoices("validate", "extent"))

    @field_validator("retry", mode="before")
    @classmethod
    def _policy(cls, asked: object) -> object:
        return asked if isinstance(asked, dict) else RetryPolicy.of(asked, RetryPolicy())

    def arguments(self) -> dict[str, Any]:
        """For ``Grid.submit``, but for ``function`` and ``notify``."""
        aside = ("function", "notify", "extent")
        told = {name: getattr(self, name) for name in Asked.model_fields if name not in aside}
        return {**told, "validate": self.extent}
