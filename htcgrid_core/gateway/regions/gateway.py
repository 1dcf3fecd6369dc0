"""RegionalGateway: the grids of several regions as one, whose sessions each live whole in one of them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from htcgrid_core.codecs.buffers import Data
from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.packages import Packed
from htcgrid_core.codecs.shared import SharedInput
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent import AgentRecord
from htcgrid_core.domain.audit import AuditEntry, AuditPage
from htcgrid_core.domain.costs import CostReport, Estimate, SessionCost
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.ended import EndedPage
from htcgrid_core.domain.errors import GridUnavailable, SessionNotFound
from htcgrid_core.domain.extent import Extent
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.domain.notification import Notification, Recipient
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.server_source import ServerSource
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.gateway.checks import no_server
from htcgrid_core.gateway.description import GridDescription
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.in_tasks import check_not_importing
from htcgrid_core.gateway.regions import loads, reading
from htcgrid_core.gateway.regions.asking import Asking, at_once
from htcgrid_core.gateway.regions.catalogue import Catalogue
from htcgrid_core.gateway.regions.copies import Copies
from htcgrid_core.gateway.regions.ended import EndedCursor
from htcgrid_core.gateway.regions.ledger import Ledger
from htcgrid_core.gateway.regions.placement import Placement
from htcgrid_core.gateway.regions.region import Region
from htcgrid_core.gateway.regions.rows import Rows
from htcgrid_core.gateway.regions.submitting import Submitting
from htcgrid_core.gateway.regions.waiter import RegionsWaiter

T = TypeVar("T")


class RegionalGateway:
    """See ``gateway.protocol.Gateway``. May be used from many threads.

    Args:
        url: as whoever connected wrote it.
        regions: at least one that is not lost. Of those that are, nothing is asked but what is known to be there.
        ask: has several regions do the same.
        rng: by which new sessions are shared out.
        monotonic: a clock that only goes forward (s).
    """

    def __init__(
        self,
        url: str,
        regions: Sequence[Region],
        *,
        ask: Asking = at_once,
        rng: random.Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self.regions = {region.name: region for region in regions}
        self._every = list(regions)
        self._kept = [region for region in regions if not region.is_lost]
        self._ask = ask
        self._monotonic = monotonic
        self._rows = Rows(regions, ask, url)
        self._copies = Copies(regions, ask)
        self._placement = Placement(regions, ask, rng=rng, monotonic=monotonic)
        self._submitting = Submitting(self.regions, self._rows, self._placement, self._copies)
        self._catalogue = Catalogue(regions, ask)
        self._ledger = Ledger(regions, ask)
        self._lock = threading.Lock()
        self._listed = threading.local()
        self._described: GridDescription | None = None
        self._describe_at = float("-inf")

    def open(self) -> None:
        """Connect to every region that answers; one that does not is tried again when it is needed.

        Raises:
            UnknownGrid, AccessDenied, IncompatibleGrid: a region answers so.
            GridUnavailable: none answers.
        """
        self._ask(self._kept, lambda *_: None).warned("sessions go to others")

    # The grid

    def describe(self) -> GridDescription:
        """What is to be known before a submit; regions are asked once in a heartbeat."""
        with self._lock:
            known = self._described
            if known is not None and self._monotonic() < self._describe_at:
                return known
            self._describe_at = self._monotonic() + limits.HEARTBEAT_SECONDS

        def look(_: Region, gateway: InProcessGateway) -> GridDescription:
            gateway.agents()  # what it says of itself is no sign of life
            return gateway.describe()

        found = loads.description(self.url, list(self._ask(self._kept, look).some().values()))
        with self._lock:
            self._described = found
        return found

    def wake(self) -> None:
        """Make sure that agents run, in the regions that answer."""
        failures: list[GridUnavailable] = []
        for region in self._kept:
            try:
                region.opened().wake()  # which asks nobody whether they do
            except GridUnavailable as error:
                failures.append(error)
        if len(failures) == len(self._kept):
            raise failures[0]

    def agents(self) -> list[AgentRecord]:
        """What agents that are alive last said of themselves."""
        answers = self._ask(self._kept, lambda _, gateway: gateway.agents())
        return [agent for found in answers.warned("its agents are not in the list").values() for agent in found]

    def measure(self) -> Measurement:
        """The load of the regions that answer, together."""
        answers = self._ask(self._kept, lambda _, gateway: gateway.measure())
        return loads.together(list(answers.warned("its load is not counted").values()))

    def silent(self) -> list[str]:
        """What this thread's last list of sessions lacks: regions that did not answer, and why."""
        lacking: dict[str, GridUnavailable] = getattr(self._listed, "lacking", {})
        return [str(why) for why in lacking.values()]

    def close(self) -> None:
        """Let go of the connections."""
        for region in self._every:
            region.close()

    # Sessions

    def submit(
        self,
        session_id: str,
        spec: SessionSpec,
        events: Iterable[EncodedEvent],
        *,
        total: int | None,
        idempotent: bool,
        durable: bool = True,
        on_progress: Callable[[int], None] | None = None,
        notify: Sequence[Recipient] = (),
        validate: Extent = "all",
    ) -> SessionRecord:
        """Submit a session to one of the regions, which the id of the row that is returned names."""
        return self._submitting.submit(
            session_id, spec, events, total=total, idempotent=idempotent, durable=durable, on_progress=on_progress,
            notify=notify, validate=validate,
        )  # fmt: skip

    def submit_from(
        self,
        session_id: str,
        spec: SessionSpec,
        source: ServerSource,
        *,
        on_progress: Callable[[int], None] | None = None,
        notify: Sequence[Recipient] = (),
        validate: Extent = "all",
    ) -> SessionRecord:
        """Nobody but this process could read it."""
        raise no_server(self.url, source)

    def resubmit(
        self,
        session_id: str,
        parent_id: str,
        *,
        idempotent: bool,
        traceparent: str = "",
        tracestate: str = "",
        notify: Sequence[Recipient] = (),
        region: str | None = None,
    ) -> SessionRecord:
        """Submit the tasks of an ended session that are not COMPLETED: to its own region, or to another."""
        return self._submitting.resubmit(
            session_id, parent_id, idempotent=idempotent, traceparent=traceparent, tracestate=tracestate,
            notify=notify, region=region,
        )  # fmt: skip

    def session(self, session_id: str) -> SessionRecord:
        """One session's row."""
        return self._rows.session(session_id)

    def progress(self, session_ids: Sequence[str]) -> list[SessionRecord]:
        """Rows of up to a hundred sessions; see ``Rows.progress``."""
        return self._rows.progress(session_ids)

    def sessions(
        self, *, states: Sequence[SessionState] = (), limit: int = 100, before: float | None = None
    ) -> list[SessionRecord]:
        """Rows of all regions that answer, newest first; ``silent`` tells of the others."""
        found, silent = self._rows.newest(states, limit, before)
        before_it = {} if before is None else getattr(self._listed, "lacking", {})  # in the pages before
        self._listed.lacking = before_it | silent
        return found

    def ended(self, after: str | float, limit: int = 100) -> EndedPage:
        """Sessions that have ended, from a cursor or a time on; those of a region that does not answer come later."""
        return EndedCursor(after, self._kept).page(self._ask, limit)

    def history(self, session_id: str) -> list[AuditEntry]:
        """Who did what to a session, oldest first."""
        return self._of(session_id, lambda gateway, there: gateway.history(there)) or []

    def notifications(self, session_id: str) -> list[Notification]:
        """Whom a session's end is told, and how far that is."""
        return self._of(session_id, lambda gateway, there: gateway.notifications(there)) or []

    def _of(self, session_id: str, ask: Callable[[InProcessGateway, str], T]) -> T | None:
        try:
            return self._rows.call(session_id, ask)
        except SessionNotFound:
            return None

    def destinations(self) -> list[Destination]:
        """The destinations that sessions may name."""
        return self._catalogue.destinations()

    def add_destination(self, destination: Destination) -> None:
        """Register a destination in every region."""
        self._catalogue.add_destination(destination)

    def remove_destination(self, name: str) -> bool:
        """Forget a destination in every region."""
        return self._catalogue.remove_destination(name)

    def adopt(self, session_id: str, owner: str, *, notify: Sequence[Recipient] = ()) -> SessionRecord:
        """Make ``owner`` the one whose fenced cancel counts."""
        return self._rows.call(session_id, lambda gateway, there: gateway.adopt(there, owner, notify=notify))

    def cancel(self, session_id: str, *, reason: str, owner: str | None = None) -> SessionRecord:
        """Ask for a session's end."""
        return self._rows.call(session_id, lambda gateway, there: gateway.cancel(there, reason=reason, owner=owner))

    def delete(self, session_id: str, *, reason: str = "") -> None:
        """Delete a session that has ended."""
        self._rows.call(session_id, lambda gateway, there: gateway.delete(there, reason=reason))

    def hold(self, session_id: str, *, reason: str) -> SessionRecord:
        """Keep a session that has ended until it is released, where it ran."""
        return self._rows.call(session_id, lambda gateway, there: gateway.hold(there, reason=reason))

    def release(self, session_id: str, *, reason: str = "") -> SessionRecord:
        """Let a session's retention go on."""
        return self._rows.call(session_id, lambda gateway, there: gateway.release(there, reason=reason))

    def waiter(self) -> RegionsWaiter:
        """What waits for news of sessions."""
        return RegionsWaiter(self._every)

    # Tasks

    def pages(self, record: SessionRecord, cursor: int = 0) -> Iterator[TaskPage]:
        """What was committed after ``cursor`` and until now."""
        region, own = reading.there(self._rows, record)
        return region.read(lambda gateway: gateway.pages(own, cursor))

    def outcomes(self, record: SessionRecord, start: int = 0) -> Iterator[tuple[int, Outcome | None]]:
        """Every task's outcome in index order, also of what ran again in another region."""
        return reading.merged_outcomes(self._rows, record, start)

    def tasks(self, record: SessionRecord, state: TaskState | None = None) -> Iterator[TaskPage | TaskOutcome]:
        """All tasks, or those in one state."""
        region, own = reading.there(self._rows, record)
        return region.read(lambda gateway: gateway.tasks(own, state))

    def task(self, record: SessionRecord, index: int) -> TaskPage | TaskOutcome:
        """One task."""
        region, own = reading.there(self._rows, record)
        return region.call(lambda gateway: gateway.task(own, index))

    def events(self, record: SessionRecord, start: int = 0) -> Iterator[bytes]:
        """The events in index order."""
        region, own = reading.there(self._rows, record)
        return region.read(lambda gateway: gateway.events(own, start))

    # Who did what, and what it cost

    def audit(self, session_id: str) -> list[AuditEntry]:
        """Who did what to a session, for as long as that is kept."""
        return self._ledger.audit(session_id)

    def audit_page(self, since: float, until: float, limit: int = 100, cursor: str | None = None) -> AuditPage:
        """Who did what in all regions, newest first."""
        return self._ledger.page(since, until, limit, cursor)

    def audit_export(self, since: float, until: float) -> Iterator[bytes]:
        """Refused: each region signs its own."""
        return self._ledger.export()

    def is_genuine_audit(self, key_id: str, digest: str, mac: str) -> bool:
        """Whether any region has exported lines with this SHA-256."""
        return self._ledger.is_genuine(key_id, digest, mac)

    def cost(self, session_id: str) -> SessionCost:
        """What a session cost, or has cost so far."""
        return self._rows.call(session_id, lambda gateway, there: gateway.cost(there))

    def costs(self, first_day: str | None = None, last_day: str | None = None, by: str = "tenant") -> CostReport:
        """Daily totals of the regions that answer, together."""
        return self._ledger.costs(first_day, last_day, by)

    def estimate(self, function: str, tasks: int, *, pool: str = "default", tenant: str | None = None) -> Estimate:
        """What a session would cost, by the region that knows most of its function."""
        return self._ledger.estimate(function, tasks, pool, tenant)

    # What sessions refer to

    def put(self, data: Data, codec: str) -> SharedInput:
        """Store an encoded value for many tasks, in every region that answers."""
        return self._copies.put(data, codec)

    def put_file(self, path: Path) -> SharedInput:
        """Store a file in every region that answers."""
        return self._copies.put_file(path)

    def put_callable(self, pickled: bytes) -> str:
        """Store a pickled callable likewise."""
        check_not_importing()
        return self._copies.put_callable(pickled)

    def deploy(self, draft: FunctionVersion, package: Packed) -> FunctionVersion:
        """Register a package as the next version of a function, in every region."""
        return self._catalogue.deploy(draft, package)

    def function(
        self, name: str, version: int | str | None = None, *, session_id: str | None = None
    ) -> FunctionVersion:
        """A version of a function that is deployed, or the latest, or the one that a token's session runs."""
        is_number = isinstance(version, int)
        held = self._placement.holder(session_id) if session_id is not None and not is_number else None
        if held is not None:
            region, record = held
            found = region.call(lambda gateway: gateway.function(name, version, session_id=record.session_id))
        else:
            found = self._catalogue.function(name, version, session_id)
        self._copies.note_version(found)
        return found

    def functions(self, name: str | None = None) -> list[FunctionVersion]:
        """The latest version of each function; or all versions of one."""
        return self._catalogue.functions(name)

    def remove_function(self, name: str, version: int | None = None) -> list[int]:
        """Take one version or all out of use for new sessions, in every region."""
        return self._catalogue.remove_function(name, version)
