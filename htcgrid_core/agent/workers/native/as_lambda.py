"""A native worker of a deployed function as the process that Lambda's Python runtime makes of itself.

Its root logger prints, what is printed is written at the end of each line, and the environment names the trace of the
task that runs. A worker of a deployed function runs that version alone, so all this may be the whole process's.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator

from htcgrid_core.agent.workers.native.invocation import RUNNING

TRACE_VARIABLE = "_X_AMZN_TRACE_ID"


def prepare() -> None:
    """Before the handler's module is imported; again where nothing has changed meanwhile."""
    from htcgrid_core.agent.workers.native import lambda_logs  # only for deployed functions: logging takes a while

    lambda_logs.install()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # or what a task printed before it was killed would be lost
    if not isinstance(os.environ, _Environment):
        os.environ.__class__ = _Environment  # all that is imported has this very object


def check() -> None:
    """After the handler's module was imported, and after each task, which may have set it up only then.

    Sentry's integration does its work by changing modules of AWS's client, and nothing at all, without a word, where
    there is none. That its module is imported says nothing: another of Sentry's own does that.

    Raises:
        RuntimeError: the function uses what does nothing here.
    """
    integrations = sys.modules.get("sentry_sdk.integrations")
    if integrations is not None and "aws_lambda" in getattr(integrations, "_installed_integrations", ()):
        raise RuntimeError(
            "Sentry's AwsLambdaIntegration changes the modules of AWS's client, which native workers do without, and "
            "does nothing: deploy the function with runtime_client=True (--runtime-client)"
        )


class _Environment(type(os.environ)):  # type: ignore[misc]  # os has no public name for it
    """The process's environment, in which the trace of the running task stands.

    It is made when somebody asks: most handlers never do. Nor is it handed to the C library, which keeps all values
    that a variable has ever had, so that a worker would grow with each task. So children that a handler starts see it
    only in an ``env`` that is made of ``os.environ``.
    """

    def __getitem__(self, name: str) -> str:
        if name == TRACE_VARIABLE and (trace := _trace()) is not None:
            return trace
        return super().__getitem__(name)  # type: ignore[no-any-return]  # as above

    def __setitem__(self, name: str, value: str) -> None:
        if name == TRACE_VARIABLE and RUNNING.context is not None:
            RUNNING.context.x_ray = value
        else:
            super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        if name == TRACE_VARIABLE and RUNNING.context is not None and _trace() is not None:
            RUNNING.context.x_ray = None
        else:
            super().__delitem__(name)

    def __iter__(self) -> Iterator[str]:
        yield from super().__iter__()
        if _trace() is not None:
            yield TRACE_VARIABLE

    def __len__(self) -> int:
        return super().__len__() + (_trace() is not None)  # type: ignore[no-any-return]  # as above


def _trace() -> str | None:
    return None if RUNNING.context is None else RUNNING.context.x_ray
