"""The grid as a whole: its release, pools, agents and load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from starlette.responses import Response

import htcgrid_core
from htcgrid_core.api import models, views
from htcgrid_core.api.call import Call, Handler
from htcgrid_core.api.failure import Failure
from htcgrid_core.api.openapi import document
from htcgrid_core.api.operations import JSON
from htcgrid_core.codecs import problems
from htcgrid_core.domain.agent import AgentRecord
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.domain.session import tenant_of


async def _version(call: Call) -> Response:
    return call.answer(models.Version(version=htcgrid_core.__version__))


async def _grid(call: Call) -> Response:
    found = await call.run(call.gateway.describe)
    info = models.GridInfo(
        pools=list(found.pools),
        agents=found.agents,
        tenant=call.principal.own_tenant,
        scopes=sorted(call.principal.scopes),
        same_machine=call.is_same_machine,
        direct_parts=call.service.grid.takes_parts,
        request_bytes=call.service.settings.request_bytes,
        dead_letters=call.service.grid.has_dead_letters,
        links=[models.Link(name=link.name, template=link.template) for link in call.service.settings.links],
    )
    return call.raw(info.model_dump()) if call.is_raw else call.answer(info)


async def _load(call: Call) -> Response:
    found = await call.run(call.gateway.measure)
    if call.is_raw:
        return call.raw({**asdict(found), "sessions": {str(state): count for state, count in found.sessions.items()}})
    agents = await call.run(call.gateway.agents)
    return call.answer(
        models.Load(
            sessions=found.sessions,
            pending=found.pending,
            agents=found.agents,
            slots=found.slots,
            busy=found.busy,
            pools=[_pool(pool, found, agents) for pool in _pools(call, found, agents)],
        )
    )


async def _load_of_pool(call: Call) -> Response:
    found, agents = await call.run(call.gateway.measure), await call.run(call.gateway.agents)
    pool = call.text("pool")
    if pool not in _pools(call, found, agents):
        raise Failure(problems.NOT_FOUND, f"this grid has no pool {pool!r}")
    return call.answer(_pool(pool, found, agents))


def _pools(call: Call, found: Measurement, agents: list[AgentRecord]) -> list[str]:
    served = call.gateway.describe().pools
    return sorted({*served, *(one.pool for one in found.demand), *(one.pool for one in agents)})


def _pool(pool: str, found: Measurement, agents: list[AgentRecord]) -> models.PoolLoad:
    mine = [agent for agent in agents if agent.pool == pool]
    slots, busy = sum(agent.slots for agent in mine), sum(agent.busy for agent in mine)
    return views.pool_load(pool, found.demand, len(mine), slots, busy)


async def _agents(call: Call) -> Response:
    found = await call.run(call.gateway.agents)
    if call.is_raw:
        # What their tasks print is for those who may read these.
        return call.raw({"agents": [asdict(replace(agent, begun=None)) for agent in found]})
    shown = [
        models.Agent(
            agent=agent.agent_id,
            pool=agent.pool,
            host=agent.host,
            slots=agent.slots,
            busy=agent.busy,
            beat_at=agent.beat_at,
            problem=agent.problem,
            running=_running(call, agent),
            started_at=agent.started_at,
            memory_bytes=agent.memory_bytes,
            memory_limit_bytes=agent.memory_limit_bytes,
        )
        for agent in found
    ]
    return call.answer(models.Agents(agents=shown))


def _running(call: Call, agent: AgentRecord) -> list[models.RunningTask] | None:
    """What whoever asks may know of; not what these tasks have printed, which takes a session's own routes."""
    if agent.begun is None:
        return None
    return [
        models.RunningTask(
            session=task.session_id,
            index=task.index,
            attempt=task.attempt,
            started_at=task.started_at,
            slot=task.slot,
            memory_bytes=task.memory_bytes,
        )
        for task in agent.begun
        if call.principal.serves(tenant_of(task.session_id))
    ]


async def _dead_letters(call: Call) -> Response:
    found = await call.run(call.service.grid.dead_letters, call.query.limit)
    shown = [
        models.DeadLetter(
            pool=letter.pool,
            session=letter.hint.session_id if letter.hint else None,
            bundle=letter.hint.bundle_id if letter.hint else None,
            sent_again=letter.redrives,
            sent_at=letter.sent_at,
        )
        for letter in found
        if letter.hint is None or call.principal.serves(tenant_of(letter.hint.session_id))
    ]
    return call.answer(models.DeadLetters(letters=shown))


async def _openapi(call: Call) -> Response:
    return Response(document(), media_type=JSON)


HANDLERS: Mapping[str, Handler] = {
    "openapi": _openapi,
    "healthz": _version,
    "version": _version,
    "grid": _grid,
    "load": _load,
    "load_of_pool": _load_of_pool,
    "agents": _agents,
    "dead_letters": _dead_letters,
}
