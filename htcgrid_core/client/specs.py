"""From the arguments of ``submit`` to what a session asks for, checked before anything is stored."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from pydantic import ValidationError

from htcgrid_core.client.callables import from_callable, is_sent_by_name
from htcgrid_core.client.environment import this_environment
from htcgrid_core.client.function_names import is_deployed_name, name_and_qualifier
from htcgrid_core.client.handlers import check_importable, reference
from htcgrid_core.client.spec_cache import SpecCache
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.function import Environment, FunctionSpec
from htcgrid_core.domain.printable import CONTROL
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.gateway.protocol import Gateway

ONCE = RetryPolicy(max_attempts=1)


class Specs:
    """The specs of one grid's clients. May be used from many threads."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._known = SpecCache()

    def of(self, function: str | Callable[..., Any], options: dict[str, Any], again: str | None) -> SessionSpec:
        """What a session of events asks for.

        Args:
            options: fields of the spec.
            again: the session that the same token made before, if there is a token.

        Raises:
            InvalidInput: an option or the function is no good.
        """
        if is_deployed_name(function):
            version = self._gateway.function(*name_and_qualifier(str(function)), session_id=again)
            deployed = {
                "task_timeout_seconds": version.timeout_seconds,
                "memory_mb": version.memory_mb,
                "cpus": version.cpus,
                "isolation": version.isolation,
            }
            unsaid = {field: value for field, value in deployed.items() if options.get(field) is None}
            return self._checked({**options, **unsaid}).model_copy(update={"function": version.spec()})
        if isinstance(function, str):
            return self._of_named(function, options)
        self._checked(options)  # first, since a callable is stored
        sent = from_callable(self._gateway, function, self._environment())
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
        grid = self._gateway.describe()
        environment = this_environment() if grid.same_machine else None

        def make() -> SessionSpec:
            checked = self.of_any_call(options)
            sent = from_callable(self._gateway, function, environment, call="args")
            return checked.model_copy(update={"function": sent})

        if not is_sent_by_name(function):
            return make()
        return self._known.spec((function, environment, grid.agents), options, make)

    def of_any_call(self, options: Mapping[str, Any]) -> SessionSpec:
        """What such a session asks for, but for its function.

        Raises:
            InvalidInput: an option is no good.
        """
        grid = self._gateway.describe()
        grid.check_pickle()
        retry = RetryPolicy.of(options.get("retry"), ONCE)
        given = {"tenant": grid.tenant, **options, "retry": retry, "codec": "pickle"}
        given.pop("token", None)
        for argument in ("task_timeout", "timeout"):
            given[f"{argument}_seconds"] = given.pop(argument, None)
        return self._checked(given)

    def _environment(self) -> Environment | None:
        return this_environment() if self._gateway.describe().same_machine else None

    def _known_spec(
        self, function: Hashable, options: dict[str, Any], make_function: Callable[[], FunctionSpec]
    ) -> SessionSpec:
        def make() -> SessionSpec:
            made = make_function()
            return self._checked(options).model_copy(update={"function": made})

        return self._known.spec((function, self._gateway.describe().agents), options, make)

    def _checked(self, options: dict[str, Any]) -> SessionSpec:
        """A spec that lacks only its function: a callable is stored after everything else was found good."""
        grid = self._gateway.describe()
        _check_texts(options)
        spec = _spec(FunctionSpec(name="unchecked.yet"), {**options, "agents": grid.agents})
        grid.check_pools(spec)
        return spec


def _spec(function: FunctionSpec, options: dict[str, Any]) -> SessionSpec:
    try:
        return SessionSpec(function=function, **options)
    except ValidationError as error:
        wrong = dict.fromkeys(_wrong(_argument(e["loc"]), e["msg"], e["input"]) for e in error.errors())
        raise InvalidInput(f"the session was not submitted: {'; '.join(wrong)}") from error


def _wrong(argument: str, message: str, given: Any) -> str:
    if argument == "max_failures":  # of two types, about each of which pydantic says something
        return f"max_failures is a count of tasks, like 5, or a share of them, like 0.01, not {given!r}"
    return f"{argument}: {message} (got {given!r})"


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
