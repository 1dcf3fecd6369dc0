"""What is sent to workers leaves its secrets behind, which Prefect's ``include_secrets=False`` keeps in the pickle."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

T = TypeVar("T")
MASK = "**********"  # as pydantic shows them


def without_secrets(value: T) -> T:
    """The value, with a mask in the place of each secret in its models, dictionaries and lists."""
    return _masked(value)  # type: ignore[no-any-return]  # of the same type


def _masked(value: Any) -> Any:
    match value:
        case SecretStr():
            return type(value)(MASK)
        case SecretBytes():
            return type(value)(MASK.encode())
        case Secret():
            return type(value)({} if isinstance(value.get_secret_value(), dict) else None)
        case BaseModel():
            masked = {name: _masked(field) for name, field in value}
            changed = {name: field for name, field in masked.items() if field is not getattr(value, name)}
            return value.model_copy(update=changed) if changed else value
        case dict():
            masked = {name: _masked(item) for name, item in value.items()}
            return masked if any(masked[name] is not item for name, item in value.items()) else value
        case list() | tuple() if type(value) in (list, tuple):
            items = [_masked(item) for item in value]
            changed_any = any(new is not old for new, old in zip(items, value, strict=True))
            return type(value)(items) if changed_any else value
        case _:
            return value
