"""The options of a ``local://`` URL and the settings of an agent, from their classes."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel

from htcgrid_core.agent.workers.environment import PASSED_PREFIXES, PASSED_VARIABLES, PYTHON_VARIABLES
from htcgrid_core.agent.workers.threads import VARIABLES
from htcgrid_core.local.address import LocalOptions
from htcgrid_core.local.settings import PREFIX, AgentTimes
from tools.docs.docstrings import Docstring


def url() -> str:
    """What may follow the question mark."""
    return _table(LocalOptions, lambda name: name)


def agents() -> str:
    """What an agent reads from its environment."""
    return _table(AgentTimes, lambda name: PREFIX + name.upper())


def thread_variables() -> str:
    """The variables that say how many threads libraries begin."""
    return ", ".join(f"`{name}`" for name in VARIABLES)


def passed_variables() -> str:
    """The environment variables of the agent that handlers see."""
    exact = ", ".join(f"`{name}`" for name in (*PASSED_VARIABLES, *PYTHON_VARIABLES))
    prefixes = ", ".join(f"`{prefix}*`" for prefix in PASSED_PREFIXES)
    return f"{exact}, {prefixes}"


def _table(model: type[BaseModel], shown: Callable[[str], str]) -> str:
    entries = dict(Docstring(model.__doc__ or "").section("Attributes"))
    lines = ["| name | default | allowed | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        bounds = [
            f"{sign} {getattr(rule, attribute):g}"
            for rule in field.metadata
            for attribute, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
            if getattr(rule, attribute, None) is not None
        ]
        default = f"{field.default:g}" if isinstance(field.default, int | float) else ""
        meaning = entries[name].removeprefix(f"`{shown(name)}`").removeprefix(", ").removesuffix(".")
        lines.append(f"| `{shown(name)}` | {default} | {', '.join(bounds)} | {meaning} |")
    return "\n".join(lines)
