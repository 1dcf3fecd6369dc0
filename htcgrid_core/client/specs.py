"""From the arguments of ``submit`` to what a session asks for, checked before anything is stored."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from htcgrid_core.client.functions import (
    check_importable,
    from_callable,
    is_sent_by_name,
    reference,
    this_environment,
)
from htcgrid_core.client.registry import is_registered, registered
from htcgrid_core.client.spec_cache import SpecCache
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.function import Environment, FunctionSpec
from htcgrid_core.domain.printable import CONTROL
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.session import SessionSpec

if TYPE_CHECKING:
    from htcgrid_core.client.deployment import Deployment


class Specs:
    """The specs of one grid's clients. May be used from many threads."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._plane = deployment.plane
        self._known = SpecCache()

    def of(self, function: str | Callable[..., Any], options: dict[str, Any], again: str | None) -> SessionSpec:
        """What a session of events asks for.

        Args:
            options: fields of the spec.
            again: the session that the same token made before, if there is a token.

        Raises:
            InvalidInput: an option or the function is no good.
        """
        if is_registered(function):
            version = registered(self._plane, str(function), again)
            deployed = {"task_timeout_seconds": version.timeout_seconds, "memory_mb": version.memory_mb}
            unsaid = {field: value for field, value in deployed.items() if options[field] is None}
            return self._checked({**options, **unsaid}).model_copy(update={"function": version.spec()})
        if isinstance(function, str):
            return self._of_named(function, options)
        self._checked(options)  # first, since a callable is stored
        sent = from_callable(self._plane, function, self._environment())
        return self._known_spec(sent, options, lambda: sent)

    def _of_named(self, name: str, options: dict[str, Any]) -> SessionSpec:
        environment = self._environment()
        spec = self._known_spec((name, environment), options, lambda: reference(name, environment))
        if environment is not None:
            check_importable(name)  # also of a spec that was known: its module may have changed
        return spec

    def of_calls(self, function: Callable[..., Any], options: Mapping[str, Any]) -> SessionSpec:
        """What a session of calls ``function(*args, **kwargs)`` asks for; options as for ``Grid.submit``.

        Raises:
            InvalidInput: an option or the function is no good.
        """
        environment = self._environment()

        def make() -> SessionSpec:
            checked = self.of_any_call(options)
            sent = from_callable(self._plane, function, environment, call="args")
            return checked.model_copy(update={"function": sent})

        if not is_sent_by_name(function):
            return make()
        return self._known.spec((function, environment, self._deployment.reachable_agents()), options, make)

    def of_any_call(self, options: Mapping[str, Any]) -> SessionSpec:
        """What such a session asks for, but for its function.

        Raises:
            InvalidInput: an option is no good.
        """
        given = {"retry": RetryPolicy(max_attempts=1), **options, "codec": "pickle"}
        given.pop("token", None)
        for argument in ("task_timeout", "timeout"):
            given[f"{argument}_seconds"] = given.pop(argument, None)
        return self._checked(given)

    def _environment(self) -> Environment | None:
        return this_environment() if self._deployment.same_machine else None

    def _known_spec(
        self, function: Hashable, options: dict[str, Any], make_function: Callable[[], FunctionSpec]
    ) -> SessionSpec:
        def make() -> SessionSpec:
            made = make_function()
            return self._checked(options).model_copy(update={"function": made})

        return self._known.spec((function, self._deployment.reachable_agents()), options, make)

    def _checked(self, options: dict[str, Any]) -> SessionSpec:
        """A spec that lacks only its function: a callable is stored after everything else was found good."""
        deployment = self._deployment
        _check_texts(options)
        spec = _spec(FunctionSpec(name="unchecked.yet"), {**options, "agents": deployment.reachable_agents()})
        if spec.pool not in deployment.pools:
            served = ", ".join(deployment.pools)
            raise InvalidInput(f"no agent of {deployment.url} serves pool {spec.pool!r}; it has {served}")
        return spec


def _spec(function: FunctionSpec, options: dict[str, Any]) -> SessionSpec:
    try:
        return SessionSpec(function=function, **options)
    except ValidationError as error:
        wrong = "; ".join(f"{_argument(e['loc'])}: {e['msg']} (got {e['input']!r})" for e in error.errors())
        raise InvalidInput(f"the session was not submitted: {wrong}") from error


def _check_texts(options: Mapping[str, Any]) -> None:
    """Names and labels are shown to people: no control characters, which would do something to their terminals."""
    labels = options.get("labels")
    texts = [("name", options.get("name"))]
    if isinstance(labels, Mapping):
        texts += [(f"label {name!r}", text) for name, value in labels.items() for text in (name, value)]
    for what, text in texts:
        if isinstance(text, str) and (found := CONTROL.search(text)):
            raise InvalidInput(f"the session was not submitted: its {what} has a control character: {found[0]!r}")


def _argument(location: tuple[int | str, ...]) -> str:
    """The argument of ``submit`` that a field of SessionSpec comes from."""
    return str(location[0]).removesuffix("_seconds")
