"""Where new sessions go: by weight, backlog and health; and where those of a token are."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence

from htcgrid_core.domain.errors import GridUnavailable, InvalidInput
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.domain.placing import Candidate, backlog_of, chosen
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.regions.asking import Answers, Asking
from htcgrid_core.gateway.regions.names import in_region
from htcgrid_core.gateway.regions.region import Region
from htcgrid_core.services.call_retries import with_retries

MEASURE_SECONDS = 15.0  # for which a region's load is good; a measurement is a look at its health, too
PLACES = "shared/"  # swept when nobody has used them for long


class Placement:
    """May be used from many threads.

    Args:
        regions: all of them, in the order of the URL.
    """

    def __init__(
        self,
        regions: Sequence[Region],
        ask: Asking,
        *,
        rng: random.Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._regions = {region.name: region for region in regions}
        self._kept = [region for region in regions if not region.is_lost]
        self._takers = [region for region in self._kept if region.weight]  # of new sessions
        self._ask = ask
        self._rng = rng or random.Random()  # noqa: S311 - it shares out work
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._loads: dict[str, Measurement] = {}
        self._pools: dict[str, Collection[str]] = {}
        self._measure_at = float("-inf")
        self._is_measured = False

    def choose(self, pool: str, without: Collection[str] = (), larger: str | None = None) -> Region:
        """A region for a new session of a pool.

        Args:
            larger: the pool to which its tasks may move.
            without: regions that are none for it.

        Raises:
            InvalidInput: no region has this pool, and the larger one with it.
            GridUnavailable: none that may take new sessions has answered the last call.
        """
        loads, wanted = self._measured(), {pool: None, larger or pool: None}
        if len(loads) == len(self._takers) and not any(wanted.keys() <= {*self._pools[name]} for name in loads):
            told = "; ".join(f"{name} has {', '.join(sorted(self._pools[name]))}" for name in loads)
            raise InvalidInput(f"no region has pool {' and '.join(map(repr, wanted))}: {told}")
        candidates = [
            Candidate(name, self._regions[name].weight, backlog_of(load, pool))
            for name, load in loads.items()
            if wanted.keys() <= {*self._pools[name]} and name not in without and not self._regions[name].trouble
        ]
        found = chosen(candidates, self._rng)
        if found is None:
            troubles = [f"{region.name}: {region.trouble}" for region in self._kept if region.trouble]
            why = "; ".join(troubles) or "their weights are 0, or they are given up"
            raise GridUnavailable(f"no region takes a new session of pool {pool!r} now: {why}")
        return self._regions[found.name]

    def _measured(self) -> dict[str, Measurement]:
        """The load of each region that answers."""
        with self._lock:
            now = self._monotonic()
            if self._is_measured and now < self._measure_at:
                return dict(self._loads)
            self._measure_at = now + MEASURE_SECONDS  # others take what is known meanwhile, once something is

        def measure(_: Region, gateway: InProcessGateway) -> tuple[Measurement, Collection[str]]:
            return gateway.measure(), gateway.describe().pools  # once: who does not answer now gets no session now

        answers = self._ask(self._takers, measure)
        with self._lock:
            self._loads = {name: load for name, (load, _) in answers.found.items()}
            self._pools |= {name: pools for name, (_, pools) in answers.found.items()}
            self._is_measured = True
            return dict(self._loads)

    # Tokens

    def holders(self, session_id: str) -> Answers[SessionRecord | None]:
        """The session of this id, which names no region, in each region: as it was submitted here, or there alone."""

        def look(region: Region, gateway: InProcessGateway) -> SessionRecord | None:
            ids = [in_region(session_id, region.name), session_id]
            found = {record.session_id: record for record in with_retries(gateway.plane, lambda: gateway.progress(ids))}
            return next((found[one] for one in ids if one in found), None)

        return self._ask(self._kept, look)

    def holder(self, session_id: str) -> tuple[Region, SessionRecord] | None:
        """Where a token's session is; None if it is nowhere.

        Raises:
            GridUnavailable: a region that may hold it does not answer.
        """
        answers = self.holders(session_id)
        held = {name: record for name, record in answers.found.items() if record is not None}
        if held:
            name, record = min(held.items(), key=lambda one: one[1].submitted_at)
            return self._regions[name], record
        if answers.silent:
            names, why = ", ".join(answers.silent), "; ".join(map(str, answers.silent.values()))
            raise GridUnavailable(
                f"session {session_id} may be in {names}, which does not answer ({why}): to submit it elsewhere might "
                f"run it twice. Try again with the same token once {names} answers; or, if you give up what it has, "
                f"connect with lost={names} in the URL"
            )
        return None

    def claimed(self, session_id: str, wanted: Region) -> Region:
        """The region of a token's session that is nowhere yet: the same for all who submit it at the same time.

        The first one writes down what he chose, in the region that the token's digest names. If that is given up, the
        next one does so under another name: those who have given up the same follow each other.

        Raises:
            GridUnavailable: that one does not answer.
            InvalidInput: who came first chose a region that is none of these.
        """
        kept = sorted(self._kept, key=lambda region: region.name)
        asked = f"the region of {session_id}"
        while True:
            digest = hashlib.sha256(asked.encode()).hexdigest()
            arbiter = kept[int(digest, 16) % len(kept)]

            def claim(gateway: InProcessGateway, key: str = f"{PLACES}{digest}") -> bytes:
                return with_retries(gateway.plane, lambda: gateway.plane.blobs.claim(key, wanted.name.encode()))

            name = arbiter.call(claim).decode()
            if name not in self._regions:
                raise InvalidInput(f"session {session_id} was placed in {name}, which the URL does not name: add it")
            if not self._regions[name].is_lost:
                return self._regions[name]
            asked = f"{asked} without {name}"
