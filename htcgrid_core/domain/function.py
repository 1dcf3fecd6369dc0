"""Functions: what a task runs."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from htcgrid_core.domain.agent_version import (
    FIRST_AGENT_VERSION,
    FUNCTION_OPTIONS_AGENT_VERSION,
    SCHEMAS_AGENT_VERSION,
)
from htcgrid_core.domain.stored import Stored

REGISTERED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
RUNTIME = re.compile(r"python3\.\d+|provided(\.al2|\.al2023)?")
# What the runtime itself sets; what else AWS has names for is a function's own.
RESERVED_VARIABLES = (
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_MAX_CONCURRENCY", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "_HANDLER",
    "_X_AMZN_TRACE_ID",
)  # fmt: skip
RESERVED_PREFIXES = ("HTCGRID_", "_HTCGRID_")
EXEC_WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"  # a program in the package that is given the command of a runtime's client
# The values that AWS has for its variables of logs.
LOG_VARIABLES = {
    "AWS_LAMBDA_LOG_FORMAT": ("JSON", "Text"),
    "AWS_LAMBDA_LOG_LEVEL": ("TRACE", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "FATAL", "CRITICAL"),
}

Isolation = Literal["session", "task"]  # whose worker process nothing else has used, nor will
MOST_AT_ONCE = 64  # invocations in one environment; AWS has as many
ResultFormat = Literal["json", "text"]  # what a runtime client posts
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)]
VariableValue = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=4096)]
MAX_SCHEMA_BYTES = 16 << 10  # it travels in a request's query


def _of_a_schemas_size(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    size = len(orjson.dumps(schema))
    if size > MAX_SCHEMA_BYTES:
        raise ValueError(f"a schema has at most {MAX_SCHEMA_BYTES:,} bytes as JSON, not {size:,}")
    return schema


JsonSchema = Annotated[dict[str, JsonValue], AfterValidator(_of_a_schemas_size)]


class Environment(Stored):
    """The Python in which the submitter would run the function; workers on the same machine use it.

    Attributes:
        python: interpreter.
        path: entries of sys.path that are not the interpreter's own.
        cwd: working directory.
    """

    python: str
    path: tuple[str, ...] = ()
    cwd: str


class Package(Stored):
    """The version of a registered function that a session runs, frozen when it was submitted.

    Attributes:
        function, version: what was deployed.
        handler: what the runtime calls, as in ``module.handler``.
        runtime: which runtime, in AWS Lambda's names.
        variables: environment variables of its workers.
        result_format: what its runtime client posts: JSON, or text, of which the result is the string.
        encoding: of what Python handlers return in native workers: as Lambda's Python runtime does it, or as handlers
            that are not deployed know it, which is that of versions from before it could be said.
        runtime_client: whether AWS's client runs it even where a native worker could.
        concurrency: invocations that one environment of a runtime client has at once.
        checks_events, checks_results: whether the version has a schema for them, which the registry keeps.
    """

    function: str = Field(pattern=f"^{REGISTERED_NAME.pattern}$")
    version: int = Field(ge=1)
    handler: str = Field(pattern=r"^[^\s\x00]{1,256}$")
    runtime: str = Field(pattern=f"^({RUNTIME.pattern})$")
    variables: dict[Variable, VariableValue] = Field(default_factory=dict, max_length=64)
    result_format: ResultFormat = "json"
    encoding: Literal["grid", "lambda"] = "grid"
    runtime_client: bool = False
    concurrency: int = Field(default=1, ge=1, le=MOST_AT_ONCE)
    checks_events: bool = False
    checks_results: bool = False

    @property
    def is_python(self) -> bool:
        """Whether its runtime is a Python, and so perhaps a native worker, which reads what other clients cannot."""
        return self.runtime.startswith("python")

    @property
    def obeyed_from(self) -> int:
        """The first version of agents that obey all of it; they also submit what clients have uploaded."""
        if self.checks_events or self.checks_results:
            return SCHEMAS_AGENT_VERSION
        options = self.result_format, self.encoding, self.runtime_client, self.concurrency
        is_first = options == ("json", "grid", False, 1)
        return FIRST_AGENT_VERSION if is_first else FUNCTION_OPTIONS_AGENT_VERSION


class SidecarPort(BaseModel):
    """Where an agent serves the Runtime API to a client that it did not start.

    Attributes:
        function, version: whose tasks the client runs; None for every version.
        port: of the loopback interface; 0 for any that is free.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    function: str = Field(pattern=f"^{REGISTERED_NAME.pattern}$")
    version: int | None = Field(default=None, ge=1)
    port: int = Field(ge=0, le=65535)

    @property
    def name(self) -> str:
        """``NAME`` or ``NAME:VERSION``."""
        return self.function if self.version is None else f"{self.function}:{self.version}"


class FunctionVersion(Package):
    """An entry of the registry: what was deployed, never changed afterwards.

    Attributes:
        blob: key of the sealed package.
        content: digest of the package's files, their names and whether they may be executed.
        files, unpacked_bytes, package_bytes: how many files, and their size unpacked and as stored.
        timeout_seconds, memory_mb, cpus, isolation: defaults of sessions that run it.
        deployed_at: wall clock, seconds.
        deployed_by: who did it, by the name that the client gives.
        min_agent_version: the lowest version of a client that has its sessions ask for all of it (agent_version.py).
        events_schema, results_schema: JSON Schemas of what its sessions are submitted with, and of what it returns;
            None for whatever it is.
    """

    blob: str
    content: str
    files: int
    unpacked_bytes: int
    package_bytes: int
    timeout_seconds: float | None = Field(default=None, gt=0, le=7 * 86400, allow_inf_nan=False)
    memory_mb: int | None = Field(default=None, ge=32, le=1 << 20)
    description: str = Field(default="", max_length=256)
    deployed_at: float = 0.0
    deployed_by: str = ""
    cpus: float | None = Field(default=None, gt=0, le=1024, allow_inf_nan=False)
    isolation: Isolation | None = None
    min_agent_version: int = Field(default=FIRST_AGENT_VERSION, ge=FIRST_AGENT_VERSION)
    events_schema: JsonSchema | None = None
    results_schema: JsonSchema | None = None

    @property
    def name(self) -> str:
        """``NAME:VERSION``, as ``submit`` takes it."""
        return f"{self.function}:{self.version}"

    def asks_the_same_as(self, other: FunctionVersion) -> bool:
        """Whether a session would run the same code in the same way."""
        told = {
            "function", "handler", "runtime", "variables", "content", "timeout_seconds", "memory_mb", "cpus",
            "isolation",
            "description", "result_format", "encoding", "runtime_client", "concurrency", "events_schema",
            "results_schema",
        }  # fmt: skip
        return self.model_dump(include=told) == other.model_dump(include=told)

    def spec(self) -> FunctionSpec:
        """What a session keeps of it."""
        package = Package.model_validate(self.model_dump(include=set(Package.model_fields)))
        return FunctionSpec(name=self.name, blob=self.blob, package=package)


_MADE_UP_MODULE = re.compile(r"__main__|__mp_main__|__prefect_loader__.*|unusual_prefix_[0-9a-f]{40}_.*")


class FunctionSpec(Stored):
    """A reference to a function.

    Attributes:
        name: ``module.handler``, ``NAME:VERSION`` of a registered function or, for a callable, ``module:qualname``
            for people to read.
        blob: key of the signed cloudpickle or package; None for a reference.
        package: the registered version, if it is one.
        call: how the function is called: ``handler(event, context)``, ``function(event)``,
            or ``function(*args, **kwargs)`` with the event being ``[args, kwargs]``.
        environment: where to run it, on a grid of one machine.
        sources: digest of the files and source lines of a callable's code, stored as a shared input of bytes; None if
            none went by value.
    """

    name: str = Field(min_length=1, max_length=512)
    blob: str | None = None
    call: Literal["handler", "event", "args"] = "handler"
    environment: Environment | None = None
    package: Package | None = None
    sources: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @property
    def title(self) -> str:
        """The name, for people: of a callable without its module, if that is a script, a notebook or a DAG file."""
        module, colon, qualname = self.name.partition(":")
        return qualname if colon and self.package is None and _MADE_UP_MODULE.fullmatch(module) else self.name
