"""Functions and destinations, which every region has for itself: written to all, read from those that answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from htcgrid_core.codecs.packages import Packed
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.errors import FunctionNotFound
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.regions.asking import Asking
from htcgrid_core.gateway.regions.region import Region

_log = logging.getLogger(__name__)


class Catalogue:
    """Of the regions that are not given up. May be used from many threads."""

    def __init__(self, regions: Sequence[Region], ask: Asking) -> None:
        self._regions = [region for region in regions if not region.is_lost]
        self._ask = ask

    # Functions

    def deploy(self, draft: FunctionVersion, package: Packed) -> FunctionVersion:
        """Register a version in every region; the first one's.

        Raises:
            GridUnavailable: a region does not answer. What the others registered is not registered again by another
                try: the same deployment is the same version.
        """
        name = draft.function
        self._ask(self._regions, lambda _, gateway: _numbers(gateway, name)).all(f"function {name!r} was not deployed")
        answers = self._ask(self._regions, lambda _, gateway: gateway.deploy(draft, package))
        made = answers.all(
            f"function {name!r} is deployed in {', '.join(answers.found) or 'no region'} alone: deploy again"
        )
        numbers = {region: version.version for region, version in made.items()}
        if len(set(numbers.values())) > 1:
            told = ", ".join(f"{number} in {region}" for region, number in numbers.items())
            _log.warning(
                "function %r is now version %s, since it was deployed to single regions before: sessions of one number "
                "run only where that is the same function", name, told,
            )  # fmt: skip
        return next(iter(made.values()))

    def function(self, name: str, version: int | str | None, session_id: str | None) -> FunctionVersion:
        """A version, or the latest, or what an alias means, of the first region that has it.

        Args:
            session_id: by which an alias of two versions means one of them.

        Raises:
            FunctionNotFound: none has.
            GridUnavailable: none that answers has, and one does not answer.
        """

        def look(_: Region, gateway: InProcessGateway) -> FunctionVersion | FunctionNotFound:
            try:
                return gateway.function(name, version, session_id=session_id if isinstance(version, str) else None)
            except FunctionNotFound as error:
                return error

        answers = self._ask(self._regions, look)
        for found in answers.found.values():
            if isinstance(found, FunctionVersion):
                return found
        answers.all(f"function {name!r} is in no region that answers")
        raise next(error for error in answers.found.values() if isinstance(error, FunctionNotFound))

    def functions(self, name: str | None) -> list[FunctionVersion]:
        """The latest version of each function in any region, or all versions of one."""
        answers = self._ask(self._regions, lambda _, gateway: gateway.functions(name))
        found: dict[tuple[str, int], FunctionVersion] = {}
        for versions in answers.warned("its functions are not in the list").values():
            for version in versions:
                key = version.function, 0 if name is None else version.version
                if key not in found or version.version > found[key].version:
                    found[key] = version
        return [found[key] for key in sorted(found)]

    def remove_function(self, name: str, version: int | None) -> list[int]:
        """Take one version or all out of use in every region.

        Raises:
            FunctionNotFound: no region has it.
            GridUnavailable: a region does not answer; nothing was removed, or it is to be removed again.
        """
        has = self._ask(self._regions, lambda _, gateway: _numbers(gateway, name)).all(
            f"function {name!r} was not removed"
        )
        wanted = [
            region for region in self._regions if (has[region.name] if version is None else version in has[region.name])
        ]
        removed = self._ask(wanted or self._regions, lambda _, gateway: gateway.remove_function(name, version))
        found = removed.all(
            f"function {name!r} is removed in {', '.join(removed.found) or 'no region'} alone: remove it again"
        )
        return sorted({number for numbers in found.values() for number in numbers})

    # Destinations

    def destinations(self) -> list[Destination]:
        """Those of any region, by name."""
        answers = self._ask(self._regions, lambda _, gateway: gateway.destinations())
        found: dict[str, Destination] = {}
        for some in answers.warned("its destinations are not in the list").values():
            for destination in some:
                found.setdefault(destination.name, destination)
        return [found[name] for name in sorted(found)]

    def add_destination(self, destination: Destination) -> None:
        """Register a destination in every region.

        Raises:
            GridUnavailable: a region does not answer; add it again.
        """
        answers = self._ask(self._regions, lambda _, gateway: gateway.add_destination(destination))
        answers.all(
            f"destination {destination.name!r} is in {', '.join(answers.found) or 'no region'} alone: add it again"
        )

    def remove_destination(self, name: str) -> bool:
        """Forget a destination in every region; whether there was one.

        Raises:
            GridUnavailable: a region does not answer; remove it again.
        """
        answers = self._ask(self._regions, lambda _, gateway: gateway.remove_destination(name))
        return any(answers.all(f"destination {name!r} may still be in a region: remove it again").values())


def _numbers(gateway: InProcessGateway, name: str) -> set[int]:
    try:
        return {version.version for version in gateway.functions(name)}
    except FunctionNotFound:
        return set()
