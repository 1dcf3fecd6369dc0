"""What is stored as JSON and read by other releases: strict with who makes it, lenient with what others wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer

from htcgrid_core.domain import agent_version
from htcgrid_core.domain.agent_version import is_for_newer_agents, min_agent_version
from htcgrid_core.domain.errors import IncompatibleGrid

# The fields of each model that the first release wrote, and expects. They are always written. A field that came later
# is written only if it differs from its default: the first release refuses fields that it does not know.
_FIRST_FIELDS: Mapping[str, str] = {
    "Environment": "python path cwd",
    "FunctionSpec": "name blob call environment package",
    "FunctionVersion": "function version handler runtime variables blob content files unpacked_bytes package_bytes"
    " timeout_seconds memory_mb description deployed_at deployed_by",
    "Package": "function version handler runtime variables",
    "RetryPolicy": "max_attempts backoff_base_seconds backoff_cap_seconds never_retry",
    "SessionSpec": "function codec name task_timeout_seconds timeout_seconds retry max_failures memory_mb priority pool"
    " tenant labels parent_id retention_seconds bundle_size agents traceparent tracestate",
}


class Stored(BaseModel):
    """Made by a caller, it refuses names that it does not know; read by ``stored``, it ignores them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    _later: ClassVar[Mapping[str, Any]] = {}  # fields that the first release does not know, with their defaults

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Note which fields came later."""
        first = _FIRST_FIELDS.get(cls.__name__, "").split()
        cls._later = {
            name: field.get_default(call_default_factory=True, validated_data={})
            for name, field in cls.model_fields.items()
            if name not in first and not field.is_required()
        }

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Take what was pickled, maybe by a release that had fewer fields: those are as they are by default."""
        super().__setstate__(state)
        for name in self._later.keys() - self.__dict__.keys():
            self.__dict__[name] = self._later[name]

    @classmethod
    def stored(cls, text: str | bytes) -> Self:
        """What some release, perhaps a newer one, has written.

        Raises:
            IncompatibleGrid: this release cannot read it, or must not take it for what it seems to be.
        """
        if is_for_newer_agents(text):
            raise IncompatibleGrid(
                f"a stored {cls.__name__} asks for version {min_agent_version(text)} of htcgrid's agents, and this "
                f"release knows version {agent_version.AGENT_VERSION}: use the release that wrote it, or a later one"
            )
        try:
            return cls.model_validate_json(text, extra="ignore")
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise IncompatibleGrid(
                f"a stored {cls.__name__} cannot be read by this version of htcgrid: {wrong}. Use the release that "
                "wrote it, or a later one"
            ) from error

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        for name, default in self._later.items():
            if name in written and getattr(self, name) == default:
                del written[name]
        return written
