"""Submitting to one of several regions: whose session it becomes, and with what it refers to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.domain.errors import FunctionNotFound, GridError, GridUnavailable, InvalidInput, SessionNotFinished
from htcgrid_core.domain.extent import Extent
from htcgrid_core.domain.notification import Recipient
from htcgrid_core.domain.session import SessionRecord, SessionSpec, tenant_of
from htcgrid_core.gateway.checks import check_session_id
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.in_tasks import check_not_importing
from htcgrid_core.gateway.regions.copies import Copies
from htcgrid_core.gateway.regions.names import in_region
from htcgrid_core.gateway.regions.placement import Placement
from htcgrid_core.gateway.regions.region import Region
from htcgrid_core.gateway.regions.rows import Rows
from htcgrid_core.services.resubmit import unfinished_events


class Submitting:
    """May be used from many threads."""

    def __init__(self, regions: dict[str, Region], rows: Rows, placement: Placement, copies: Copies) -> None:
        self._regions = regions
        self._rows = rows
        self._placement = placement
        self._copies = copies

    def submit(
        self,
        session_id: str,
        spec: SessionSpec,
        events: Iterable[EncodedEvent],
        *,
        total: int | None,
        idempotent: bool,
        durable: bool,
        on_progress: Callable[[int], None] | None,
        notify: Sequence[Recipient],
        validate: Extent,
    ) -> SessionRecord:
        """See ``Gateway.submit``; the id of the row that is returned names its region."""
        check_not_importing()
        check_session_id(session_id, spec.tenant)
        region, there, spec = self._placed(session_id, spec, idempotent)

        def submit(gateway: InProcessGateway) -> SessionRecord:
            own = spec.model_copy(update={"agents": gateway.describe().agents})
            taken = self._copies.events(events, region)
            return gateway.submit(
                there, own, taken, total=total, idempotent=idempotent, durable=durable, on_progress=on_progress,
                notify=notify, validate=validate,
            )  # fmt: skip

        return region.call(submit)

    def _placed(self, session_id: str, spec: SessionSpec, idempotent: bool) -> tuple[Region, str, SessionSpec]:
        """The region for a session, its id and its spec there."""
        if idempotent:
            held = self._placement.holder(session_id)
            if held is not None:
                region, record = held
                its = record.parsed_spec().function  # which it keeps, also when that version was taken out of use
                return region, record.session_id, spec if spec.function == its else self._of_region(spec, region)
        region, own = self._chosen(spec)
        if idempotent:
            claimed = self._placement.claimed(session_id, region)
            if claimed is not region:
                region, own = claimed, self._of_region(spec, claimed)
        return region, in_region(session_id, region.name), own

    def _of_region(self, spec: SessionSpec, region: Region) -> SessionSpec:
        return spec.model_copy(update={"function": self._copies.function(spec.function, region)})

    def _chosen(self, spec: SessionSpec) -> tuple[Region, SessionSpec]:
        """A region by weight, backlog and health, of those that have the function; and the spec there."""
        lacking: dict[str, GridError] = {}
        while True:
            try:
                region = self._placement.choose(spec.pool, lacking, spec.retry.on_out_of_memory)
            except GridUnavailable as error:
                raise next((why for why in lacking.values() if isinstance(why, FunctionNotFound)), error) from error
            try:
                return region, self._of_region(spec, region)
            except (FunctionNotFound, GridUnavailable) as error:
                lacking[region.name] = error

    def resubmit(
        self,
        session_id: str,
        parent_id: str,
        *,
        idempotent: bool,
        traceparent: str,
        tracestate: str,
        notify: Sequence[Recipient],
        region: str | None,
    ) -> SessionRecord:
        """See ``Gateway.resubmit``.

        Args:
            region: where it is to run; None for its parent's.

        Raises:
            GridUnavailable: the parent's region does not answer: the events are there, and nowhere else.
        """
        check_not_importing()
        check_session_id(session_id, tenant_of(parent_id))
        home, parent_there = self._rows.at(parent_id)
        target = home if region is None else self._named(region)
        there = in_region(session_id, target.name)
        if idempotent and (held := self._placement.holder(session_id)) is not None:
            target, there = held[0], held[1].session_id
        if target is home:
            return home.call(
                lambda gateway: gateway.resubmit(
                    there, parent_there, idempotent=idempotent, traceparent=traceparent, tracestate=tracestate,
                    notify=notify,
                )
            )  # fmt: skip
        parent = home.call(lambda gateway: gateway.session(parent_there))
        if not parent.ended:
            raise SessionNotFinished(
                f"session {parent_there} still runs in {home.name}: wait for it or cancel it, then resubmit"
            )
        before = parent.parsed_spec()
        if before.function.package is not None:
            name = before.function.package.function  # of a version that may have been taken out of use there
            self._copies.note_version(home.call(lambda gateway: gateway.function(name, session_id=parent_there)))
        spec = self._of_region(before, target).model_copy(
            update={"parent_id": parent_there, "traceparent": traceparent, "tracestate": tracestate, "notify": ()}
        )
        events = unfinished_events(home.opened().plane, parent, before)

        def submit(gateway: InProcessGateway) -> SessionRecord:
            own = spec.model_copy(update={"agents": gateway.describe().agents})
            taken = self._copies.events(events, target)
            # They were checked when their parent was submitted.
            return gateway.submit(there, own, taken, total=None, idempotent=idempotent, notify=notify, validate="off")

        return target.call(submit)

    def _named(self, region: str) -> Region:
        if region not in self._regions:
            raise InvalidInput(f"{region!r} is none of this grid's regions: {', '.join(self._regions)}")
        return self._regions[region]
