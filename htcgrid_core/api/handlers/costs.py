"""Costs: of a session, of days, and of a session to be."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from htcgrid_core.api import models
from htcgrid_core.api.call import Call, Handler
from htcgrid_core.domain.costs import Cost


def view(cost: Cost) -> models.Cost:
    """Dollars."""
    return models.Cost(total=cost.total, requests=cost.requests, compute=cost.compute, storage=cost.storage)


async def _of_session(call: Call) -> Response:
    found = await call.run(call.gateway.cost, call.session_id)
    return call.answer(
        models.SessionCost(
            session=found.session_id,
            cost=view(found.cost),
            is_final=found.is_final,
            tasks=found.spent.tasks,
            task_seconds=found.spent.task_seconds,
            prices=found.prices,
            note=found.note,
        )
    )


async def _totals(call: Call) -> Response:
    query = call.query
    found = await call.run(call.service.grid.costs, query.from_, query.to, query.by, call.principal.serves)
    rows = [
        models.CostRow(
            day=row.day,
            key=row.key,
            sessions=row.sessions,
            tasks=row.tasks,
            task_seconds=row.task_seconds,
            cost=view(row.cost),
        )
        for row in found.rows
    ]
    return call.answer(models.Costs(by=found.by, rows=rows, prices=found.prices, note=found.note))


async def _estimate(call: Call) -> Response:
    query = call.query
    tenant = call.tenant(query.tenant)
    found = await call.run(call.gateway.estimate, query.function, query.tasks, pool=query.pool, tenant=tenant)
    return call.answer(
        models.Estimate(
            function=found.function,
            tasks=found.tasks,
            sessions=found.sessions,
            cost=None if found.cost is None else view(found.cost),
            low=found.low,
            high=found.high,
            task_seconds=found.task_seconds,
            prices=found.prices,
            note=found.note,
        )
    )


HANDLERS: Mapping[str, Handler] = {"session_cost": _of_session, "costs": _totals, "estimate": _estimate}
