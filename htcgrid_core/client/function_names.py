"""Names of functions that are deployed: ``NAME`` means the latest version, ``NAME:VERSION`` and ``NAME:ALIAS`` one."""

from __future__ import annotations

from htcgrid_core.domain.alias import ALIAS_NAME
from htcgrid_core.domain.errors import FunctionNotFound


def is_deployed_name(function: object) -> bool:
    """Whether it is the name of a deployed function: one without a dot, unlike ``module.handler``."""
    return isinstance(function, str) and "." not in function


def name_and_version(function: str) -> tuple[str, int | None]:
    """Name and version of ``NAME`` or ``NAME:VERSION``.

    Raises:
        FunctionNotFound: the version is no number.
    """
    name, separator, number = function.partition(":")
    if separator and not (number.isascii() and number.isdecimal()):
        raise FunctionNotFound(
            f"{function!r} is not a function's name: a version is a number, as in {name or 'NAME'}:3, and a function "
            "of a module is written module.handler"
        )
    return name, int(number) if separator else None


def name_and_qualifier(function: str) -> tuple[str, int | str | None]:
    """Name, and number or alias, of ``NAME``, ``NAME:VERSION`` or ``NAME:ALIAS``.

    Raises:
        FunctionNotFound: it is none of these.
    """
    name, _, alias = function.partition(":")
    return (name, alias) if ALIAS_NAME.fullmatch(alias) else name_and_version(function)
