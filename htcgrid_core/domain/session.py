"""Sessions: what is asked for, and what the row says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import Field, StringConstraints

from htcgrid_core.domain import limits
from htcgrid_core.domain.agent_version import FIRST_AGENT_VERSION, is_for_newer_agents
from htcgrid_core.domain.bundle import Block
from htcgrid_core.domain.errors import CorruptPayload, IncompatibleGrid
from htcgrid_core.domain.function import FunctionSpec, Isolation
from htcgrid_core.domain.lifecycle import SESSION, SessionEvent, SessionState
from htcgrid_core.domain.retry import POOL, RetryPolicy
from htcgrid_core.domain.spent import Spent, Usage
from htcgrid_core.domain.stored import Stored
from htcgrid_core.domain.trace import STATE_CHARACTERS, Trace, of_session

DEFAULT_TENANT = "default"  # of those who name none: each of their sessions is a tenant by itself
_TENANT = r"[a-z0-9][a-z0-9-]{0,31}"
TENANT = re.compile(_TENANT)
SESSION_ID = re.compile(rf"(?:{_TENANT}\.)?[a-z0-9][a-z0-9-]{{3,63}}")

Priority = Literal["high", "normal", "low"]
Codec = Literal["json", "pickle"]
Label = Annotated[str, StringConstraints(min_length=1, max_length=256)]

_NO_SPEC = (orjson.JSONDecodeError, LookupError, TypeError, AttributeError)  # what a damaged one raises, read in part


def tenant_of(session_id: str) -> str:
    """The tenant that a session's id begins with, up to a dot, so that keys of one tenant share a prefix."""
    tenant, dot, _ = session_id.partition(".")
    return tenant if dot else DEFAULT_TENANT


def within_tenant(tenant: str, session_id: str) -> str:
    """A tenant's session id of one that is nobody's."""
    return session_id if tenant == DEFAULT_TENANT else f"{tenant}.{session_id}"


def blobs_of(session_id: str, folder: str) -> str:
    """What the keys of a session's blobs begin with."""
    return f"sessions/{session_id}/{folder}/" if folder else f"sessions/{session_id}/"


class SessionSpec(Stored):
    """What a submitter asks for, but for the events.

    Attributes:
        function: what each task runs.
        codec: how events and results are encoded; pickle only for Python callables, signed.
        name: for people.
        task_timeout_seconds: limit of one attempt; None for none.
        timeout_seconds: limit of the whole session from its submission; None for none.
        retry: when a failed task runs again.
        max_failures: failed tasks that are tolerated, as a count (int) or a share of the session (float below
            1); one more ends the session FAILED at once. None: run everything, FAILED at the end if any failed.
        memory_mb: memory of a worker, enforced by rlimit; None for as much as a slot of its pool has, if that is said.
        cpus: cores that a task keeps busy: slots of its pool must have as many, where that is said.
        priority, pool: where it queues.
        tenant: on whose behalf; what all of a tenant's sessions get is one tenant's share.
        labels: for finding it again.
        parent_id: the session whose failed tasks this one runs again.
        retention_seconds: how long after its end it can be read; if it is not set, for as long as its tenant's default.
        bundle_size: tasks a bundle, for benchmarks; None lets the grid choose.
        agents: how many the pool could reach at submit; with it a repeated submit cuts the same bundles.
        traceparent, tracestate: where in a trace it was submitted, as W3C writes it; empty for nowhere.
        min_agent_version: the lowest version of an agent that obeys all of it (agent_version.py).
        signing_key: id of the key with which it is signed; empty for the grid's first.
        notify: who is told of its end, by their names; the outbox has the rest.
        isolation: whether the session, or each of its tasks, has worker processes of its own; None for neither.
    """

    function: FunctionSpec
    codec: Codec = "json"
    name: str = Field(default="", max_length=256)
    task_timeout_seconds: float | None = Field(default=None, gt=0, le=7 * 86400, allow_inf_nan=False)
    timeout_seconds: float | None = Field(default=None, gt=0, le=30 * 86400, allow_inf_nan=False)
    retry: RetryPolicy = RetryPolicy()
    max_failures: (
        Annotated[int, Field(ge=0, strict=True)]
        | Annotated[float, Field(gt=0, lt=1, strict=True, allow_inf_nan=False)]
        | None
    ) = None
    memory_mb: int | None = Field(default=None, ge=32, le=1 << 20)
    cpus: float | None = Field(default=None, gt=0, le=1024, allow_inf_nan=False)
    priority: Priority = "normal"
    pool: str = Field(default="default", pattern=POOL)
    tenant: str = Field(default=DEFAULT_TENANT, pattern=rf"^{_TENANT}$")
    labels: dict[Label, Label] = Field(default_factory=dict, max_length=32)
    parent_id: str | None = None
    retention_seconds: float = Field(
        default=limits.RETENTION_SECONDS, gt=0, le=limits.LONGEST_RETENTION_SECONDS, allow_inf_nan=False
    )
    bundle_size: int | None = Field(default=None, ge=1, le=limits.MAX_BUNDLE_TASKS)
    agents: int = Field(default=1, ge=1)
    traceparent: str = Field(default="", max_length=64)
    tracestate: str = Field(default="", max_length=STATE_CHARACTERS)
    min_agent_version: int = Field(default=FIRST_AGENT_VERSION, ge=FIRST_AGENT_VERSION)
    signing_key: str = Field(default="", pattern=r"^([0-9a-f]{8})?$")
    notify: tuple[str, ...] = Field(default=(), max_length=16)
    isolation: Isolation | None = None

    @cached_property
    def text(self) -> str:
        """This spec as JSON, made once for all sessions that ask for the same."""
        return self.model_dump_json()

    @cached_property
    def shared_worker_key(self) -> str:
        """``worker_key`` without isolation, made once for all sessions that ask for the same."""
        function = self.function
        code = f"{function.name}|{function.blob}|{function.sources}|{function.environment}"
        return f"{self.tenant}|{code}|{self.memory_mb}"

    def worker_key(self, session_id: str) -> str:
        """Equal for sessions that may share a worker, and so what a handler keeps in its memory.

        Tenants share none, nor does a session that asks for isolation.
        """
        return self.shared_worker_key if self.isolation is None else f"{self.shared_worker_key}|{session_id}"

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields changed, and so with texts of its own."""
        copied = super().model_copy(update=update, deep=deep)
        for made in ("text", "shared_worker_key"):
            copied.__dict__.pop(made, None)
        return copied

    def identity(self) -> str:
        """What makes two submissions ask for the same: all but where and how they are carried out.

        Nor where their code stands: a step that is tried again, from a file that has moved, asks for the same.
        """
        aside = {"agents", "bundle_size", "traceparent", "tracestate", "min_agent_version", "signing_key", "notify"}
        return self.model_dump_json(exclude={**dict.fromkeys(aside, True), "function": {"environment", "sources"}})

    def trace(self, session_id: str) -> Trace:
        """Where it was submitted, or a trace of its own."""
        return of_session(session_id, self.traceparent, self.tracestate)

    def tolerated_failures(self, total: int) -> int | None:
        """How many of ``total`` tasks may fail before the session does; None for no threshold."""
        if isinstance(self.max_failures, float):
            return int(Fraction(str(self.max_failures)) * total)  # 0.29 of 100 is 29, not 28.999999999999996
        return self.max_failures


@dataclass(frozen=True, slots=True)
class Counters:
    """Exact at every commit: completed + failed + cancelled = total once the session has ended.

    Attributes:
        task_seconds: how long the tasks that completed or failed took, each in its last attempt, together; those that
            an agent from before it was counted committed add nothing.
        retrying: tasks of a session that goes on that have failed and not ended. What an agent from before it was
            counted has done with them is missing.
    """

    total: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    task_seconds: float = 0.0
    retrying: int = 0

    @property
    def pending(self) -> int:
        """Tasks that have not ended."""
        return self.total - self.completed - self.failed - self.cancelled


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session's row.

    Attributes:
        spec: the SessionSpec as JSON; parsed only where it is needed.
        tolerated: failures tolerated, known once the total is; None for no threshold.
        bundles: root bundles written at submit; negative until the session is acknowledged.
        digest: of function, options and events; what idempotent submission compares. Empty without a token.
        reason: why it ended, if not COMPLETED.
        owner: whose fenced cancel counts: the newest attempt of the step that waits for it. Empty for nobody.
        pool, retention_seconds: of the spec, for those who do not parse it.
        damage: why the row cannot be read; this then stands in its place, FAILED. Empty if it can.
        updated_at, submitted_at, ended_at, deadline_at, expires_at: wall clock, seconds.
        generation: a random name of this try of the submission, by which stores that keep sessions under it find a
            small one at once. Empty where nobody needs it.
        usage: what was counted beside its tasks; agents and clients from before it was counted add nothing.
        held: why nothing may delete it until it is released; empty where something may.
        folder: of its blobs, within that of its id: its own, so that whoever deletes it late deletes nothing of a
            newer session under its id. Empty for one that a release without these has submitted.
    """

    session_id: str
    state: SessionState
    spec: str
    name: str
    counters: Counters
    submitted_at: float
    updated_at: float
    ended_at: float | None = None
    deadline_at: float | None = None
    expires_at: float | None = None
    tolerated: int | None = None
    bundles: int = -1
    digest: str = ""
    reason: str = ""
    owner: str = ""
    pool: str = "default"
    retention_seconds: float = limits.RETENTION_SECONDS
    damage: str = ""
    generation: str = field(default="", compare=False)
    usage: Usage = field(default=Usage(), compare=False)
    folder: str = field(default="", compare=False)
    held: str = ""

    @property
    def blobs(self) -> str:
        """What the keys of its blobs begin with: another submission under its id has another folder."""
        return blobs_of(self.session_id, self.folder)

    @property
    def retrying(self) -> int:
        """Tasks that have failed and are run again, where any are: agents from before it was counted miscount it."""
        if self.state not in (SessionState.SUBMITTED, SessionState.RUNNING):
            return 0
        return min(self.counters.pending, max(0, self.counters.retrying))

    def parsed_spec(self) -> SessionSpec:
        """What was asked for.

        Raises:
            IncompatibleGrid: a newer release asked, for what this one does not know, and it is left to that one.
            CorruptPayload: it is not what any release wrote.
        """
        if self.damage:
            raise CorruptPayload(self.damage)
        try:
            return SessionSpec.stored(self.spec)
        except IncompatibleGrid as error:
            kind = IncompatibleGrid if is_for_newer_agents(self.spec) else CorruptPayload
            raise kind(f"session {self.session_id}: {error}") from error

    @property
    def codec(self) -> Codec | None:
        """How its values are encoded, which every release writes alike; None if that cannot be read."""
        try:
            told: Codec | None = orjson.loads(self.spec)["codec"]
        except _NO_SPEC:
            return None
        return told if told in ("json", "pickle") else None

    @property
    def function(self) -> str:
        """The spec's function without its version, as the registry has it; empty if that cannot be read."""
        try:
            told = orjson.loads(self.spec)["function"]
            package = told.get("package")
            return str(package["function"] if package else told["name"])
        except _NO_SPEC:
            return ""

    @property
    def spent(self) -> Spent:
        """What it took, or has taken so far."""
        return Spent(
            function=self.function,
            pool=self.pool,
            labels=self.labels,
            tasks=self.counters.completed + self.counters.failed,
            bundles=max(0, self.bundles),
            task_seconds=self.counters.task_seconds,
            kept_seconds=self.retention_seconds,
            usage=self.usage,
        )

    @property
    def labels(self) -> dict[str, str]:
        """The spec's labels, which every release writes alike, also if this one cannot read the rest.

        None if they are damaged: a session that cannot be read must not hide others.
        """
        try:
            return {str(name): str(value) for name, value in orjson.loads(self.spec)["labels"].items()}
        except _NO_SPEC:
            return {}

    @property
    def priority(self) -> Priority:
        """The spec's priority, likewise."""
        try:
            found: Priority = orjson.loads(self.spec)["priority"]
        except _NO_SPEC:
            return "normal"
        return found

    @property
    def larger_pool(self) -> str:
        """The pool to which the spec lets tasks move, likewise; empty for none."""
        if '"on_out_of_memory":' not in self.spec:
            return ""
        try:
            return str(orjson.loads(self.spec)["retry"].get("on_out_of_memory") or "")
        except _NO_SPEC:
            return ""

    @property
    def notifies(self) -> bool:
        """Whether somebody is told of its end; an earlier submission may have said so of none, and a later one done."""
        return '"notify":' in self.spec and bool(orjson.loads(self.spec).get("notify"))

    @property
    def acknowledged(self) -> bool:
        """Whether the submitter was told that the session exists."""
        return self.bundles >= 0

    @property
    def ended(self) -> bool:
        """Whether the state is terminal."""
        return SESSION.is_terminal(self.state)


def unreadable(session_id: str, why: str, submitted_at: object = 0.0) -> SessionRecord:
    """What stands in the place of a row that cannot be read, so that it hides no other."""
    damage = f"the row of session {session_id} cannot be read: {why}"
    at = float(submitted_at) if isinstance(submitted_at, int | float) else 0.0
    return SessionRecord(session_id, SessionState.FAILED, "", "", Counters(), at, at, at, reason=damage, damage=damage)


def whole(draft: SessionRecord, blocks: Sequence[Block], *, digest: str, tolerated: int | None) -> SessionRecord:
    """The RUNNING row of a session that is written in one step with all its blocks."""
    return replace(
        draft,
        state=SESSION.advance(SESSION.initial, SessionEvent.ACKNOWLEDGE),
        counters=Counters(total=sum(block.count for block in blocks)),
        bundles=len(blocks),
        digest=digest,
        tolerated=tolerated,
        usage=Usage(input_bytes=sum(block.payload.size for block in blocks)),
    )
