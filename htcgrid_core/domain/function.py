"""Functions: what a task runs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Environment(BaseModel):
    """The Python in which the submitter would run the function; workers on the same machine use it.

    Attributes:
        python: interpreter.
        path: entries of sys.path that are not the interpreter's own.
        cwd: working directory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: str
    path: tuple[str, ...] = ()
    cwd: str


class FunctionSpec(BaseModel):
    """A reference to a function.

    Attributes:
        name: ``module.handler`` or, for a callable, ``module:qualname`` for people to read.
        blob: key of the signed cloudpickle if it is a Python callable; None for a reference.
        call: how the function is called: ``handler(event, context)``, ``function(event)``,
            or ``function(*args, **kwargs)`` with the event being ``[args, kwargs]``.
        environment: where to run it, on a grid of one machine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=512)
    blob: str | None = None
    call: Literal["handler", "event", "args"] = "handler"
    environment: Environment | None = None
