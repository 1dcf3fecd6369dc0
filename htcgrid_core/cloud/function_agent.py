"""An agent as a Lambda function: invoked with the messages of a pool's queues, by their mappings.

What it may do is in ``function_agent_permissions.json``; docs/aws.md says how it is set up.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from htcgrid_core.adapters.aws.errors import aws_errors
from htcgrid_core.adapters.aws.sqs.receiver import MAX_HIDDEN_SECONDS
from htcgrid_core.adapters.embedded_metrics import EmbeddedMetrics
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.memory import agent_memory
from htcgrid_core.agent.metrics import show
from htcgrid_core.agent.privacy import hide
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.agent.workers.by_runtime import Workers
from htcgrid_core.cloud.given_messages import Given, GivenMessages, given_in
from htcgrid_core.cloud.lambda_function import LambdaContext, served_grid, served_tenant
from htcgrid_core.cloud.logs import configure
from htcgrid_core.cloud.plane import CloudPlane, open_cloud
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridError, InvalidInput, UnknownGrid
from htcgrid_core.domain.session import SessionRecord, tenant_of
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.ports.metrics import NO_METRICS
from htcgrid_core.services.telling import attempt, tell_sessions

_log = logging.getLogger(__name__)

LINES_VARIABLE = "HTCGRID_EMBEDDED_METRICS"  # 1 for metrics as lines of the log
POOL_VARIABLE, SLOTS_VARIABLE = "HTCGRID_POOL", "HTCGRID_SLOTS"
MEMORY_VARIABLE = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"
MEMORY_MB_A_CORE = 1769  # of a function, as AWS says
# Of a function's time: what the last commit may take, what tasks that run get while no more are begun, and what one
# task may take, so that one that is begun first is over, or has failed, before it would be handed back unfinished.
SPARE_SHARE, SPARE_SECONDS = 0.15, 10.0
GRACE_SHARE, GRACE_SECONDS = 0.1, 25.0
TASK_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Times:
    """How a function divides its time, in seconds.

    Attributes:
        spare: before its end, by when everything is committed.
        grace: before that, in which no task is begun.
        task: of one task, at most.
    """

    spare: float
    grace: float
    task: float

    @classmethod
    def of(cls, seconds: float) -> Times:
        """Of a function that may take so long."""
        spare, grace = min(SPARE_SECONDS, SPARE_SHARE * seconds), min(GRACE_SECONDS, GRACE_SHARE * seconds)
        return cls(spare, grace, TASK_SHARE * seconds)


class FunctionAgent:
    """An agent that lives from one invocation to the next, with its workers; between them it holds no lease.

    Args:
        slots: tasks at the same time.
        times: of the function, all of whose invocations may take as long.
        lines: what the cloud counts in, written at the end of each invocation; None for nobody who looks.
    """

    def __init__(
        self,
        cloud: CloudPlane,
        pool: str,
        tenant: str,
        slots: int,
        times: Times,
        lines: EmbeddedMetrics | None = None,
    ) -> None:
        if pool not in cloud.parameter.queues:
            raise UnknownGrid(f"this grid has no pool {pool!r}; it has {', '.join(cloud.parameter.queues)}")
        cloud.prepare_cache()
        self._cloud, self._pool, self._tenant, self._slots, self._times = cloud, pool, tenant, slots, times
        queues = cloud.parameter.queues[pool]
        self._urls = {url.rpartition("/")[2]: url for url in (queues.high, queues.normal, queues.low)}
        self._identity = AgentIdentity(f"function-{secrets.token_hex(6)}", pool, "lambda", os.getpid())
        self._lines = lines
        self._ended: list[SessionRecord] = []
        self._bell = cloud.doorbell.listen(WORK)
        self._queue = GivenMessages(cloud.queue, self._bell.ring)
        self._agent: Agent | None = None
        self._workers: Workers | None = None

    def run(self, given: Sequence[Given], context: LambdaContext) -> list[str]:
        """Deal with the messages of an invocation; ids of those that are to come again.

        Raises:
            InvalidInput: they are of a queue of another pool.
        """
        strange = {one.queue for one in given} - self._urls.keys()
        if strange:
            raise InvalidInput(f"this function serves pool {self._pool!r}, and queue {min(strange)!r} is none of its")
        mine = [one for one in given if one.hint is None or tenant_of(one.hint.session_id) == self._tenant]
        others = [one for one in given if one not in mine]
        if others:
            told = {"sessions": sorted({one.hint.session_id for one in others if one.hint is not None})}
            _log.error("this function serves tenant %s alone: others are left to others", self._tenant, extra=told)
        lease_seconds = self._cloud.times.lease_seconds
        self._queue.give(mine, self._cloud.plane.clock.now(), lease_seconds)
        if not self._queue.is_empty:
            try:
                self._work(context)
            except BaseException:
                self._forget_agent()  # nobody knows what it was about
                raise
            self._tell(context)
        if self._lines is not None:
            self._lines.write()
        self._cloud.plane.traces.flush()  # the sandbox may stand still until the next invocation
        undone = {**self._queue.undone(self._unseen_seconds()), **{one.id: lease_seconds for one in others}}
        self._hide([one for one in given if one.id in undone], undone)
        return list(undone)

    def close(self) -> None:
        """End its workers."""
        if self._agent is not None:
            self._forget_agent()
        self._bell.close()

    def _work(self, context: LambdaContext) -> None:
        agent, times = self._agent or self._new_agent(), self._times
        while not (self._queue.is_empty and not agent.leases and not agent.claims_under_way) and not agent.drained:
            if not agent.readiness.draining and _left(context) < times.spare + times.grace:
                _log.info("what does not fit into this invocation is handed back", extra={"leases": agent.leases})
                agent.drain()
            if not agent.leases and not agent.readiness.may_claim:
                break  # workers cannot start here now: time that is paid for is not for waiting
            agent.step()
        if agent.readiness.draining:
            self._forget_agent()

    def _unseen_seconds(self) -> float:
        """For how long others should not see what was not looked at here."""
        return 0.0 if self._agent is None or self._agent.readiness.may_claim else limits.BREAKER_COOLDOWN_SECONDS

    def _new_agent(self) -> Agent:
        cloud = self._cloud
        settings = replace(
            cloud.times.settings(),
            drain_grace_seconds=self._times.grace,
            longest_task_seconds=self._times.task,
            look_seconds=float("inf"),
        )
        count = cloud.plane.metrics
        workers = self._workers = Workers(self._slots, self._bell, cloud.cache, cloud.times.cache_bytes, count=count)
        plane = replace(cloud.plane, queue=self._queue)
        self._agent = Agent(plane, workers, self._identity, settings, on_end=self._ended.append, memory=agent_memory)
        show(self._agent, count)
        return self._agent

    def _forget_agent(self) -> None:
        self._agent = None
        if self._workers is not None:
            self._workers.close()

    def _tell(self, context: LambdaContext) -> None:
        """Tell of sessions that have ended here; what there is no time for is the reconciler's."""
        records = [record for record in self._ended if record.notifies]
        self._ended.clear()
        if not records:
            return
        try:
            for action in tell_sessions(self._cloud.plane, records):
                if _left(context) > self._times.spare:
                    attempt(action)
        except GridError as error:
            told = {"sessions": [record.session_id for record in records]}
            _log.warning("the reconciler tells of sessions that ended here: %s", error, extra=told)

    def _hide(self, undone: Sequence[Given], seconds: dict[str, float]) -> None:
        """Have messages come again when it is time: the mapping only leaves them hidden for as long as they are."""
        for one in undone:
            hidden = min(MAX_HIDDEN_SECONDS, ceil(seconds[one.id]))
            url = self._urls[one.queue]
            try:
                with aws_errors(f"SQS queue {url}"):
                    self._cloud.clients.sqs.change_message_visibility(
                        QueueUrl=url, ReceiptHandle=one.handle, VisibilityTimeout=hidden
                    )
            except GridError as error:  # it comes later, when its queue says so
                _log.warning("a message comes again later than it could: %s", error)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Run the bundles that an event's messages name; the answer says which messages are to come again.

    The grid is ``HTCGRID_URL``, the pool ``HTCGRID_POOL``, the tenant ``HTCGRID_TENANT``. ``HTCGRID_SLOTS`` tasks run
    at the same time: one for each core of the function's memory, unless that says otherwise.

    Raises:
        InvalidInput: the function is not set up as it should be.
        UnknownGrid, AccessDenied, GridUnavailable: the grid cannot be used; all messages come again.
    """
    given = given_in(event)
    agent = _opened(_left(context))
    undone = agent.run(given, context)
    return {"batchItemFailures": [{"itemIdentifier": one} for one in undone]}


_agents: list[FunctionAgent] = []  # of this sandbox: one, from the first invocation on


def _opened(seconds: float) -> FunctionAgent:
    if not _agents:
        configure(style="json")
        with contextlib.suppress(OSError):  # a sandbox that does not allow it is no worse than one without it
            hide()
        address, pool = served_grid(), os.environ.get(POOL_VARIABLE, "default")
        lines = EmbeddedMetrics(address.name, pool, sys.stdout) if os.environ.get(LINES_VARIABLE) == "1" else None
        cloud = open_cloud(address, metrics=lines or NO_METRICS)
        _agents.append(FunctionAgent(cloud, pool, served_tenant(), _slots(), Times.of(seconds), lines))
    return _agents[0]


def _slots() -> int:
    text = os.environ.get(SLOTS_VARIABLE) or str(int(os.environ.get(MEMORY_VARIABLE, "0")) // MEMORY_MB_A_CORE or 1)
    if not text.isdecimal() or not int(text):
        raise InvalidInput(f"{SLOTS_VARIABLE} is a number of tasks from 1 on, not {text!r}")
    return int(text)


def _left(context: LambdaContext) -> float:
    return context.get_remaining_time_in_millis() / 1000
