"""What the gateway needs of a grid beside its planes; each kind of grid has one."""

from __future__ import annotations

from typing import Protocol

from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.ports.doorbell import Bell
from htcgrid_core.ports.plane import Plane


class Deployment(Protocol):
    """A grid that was opened.

    Attributes:
        url: as the user wrote it.
        plane: its data and control planes.
        same_machine: whether workers run where the client does, with its Python and files.
        pools: the pools that agents serve.
        sizes: of those whose slots' size is known without asking.
    """

    url: str
    plane: Plane
    same_machine: bool
    pools: tuple[str, ...]
    sizes: tuple[PoolSize, ...]

    def wake(self) -> None:
        """Make sure that agents run."""

    def reachable_agents(self) -> int:
        """Agents among which a session submitted now would be shared."""

    def check_destination(self, destination: Destination) -> None:
        """Whether it may be registered.

        Raises:
            InvalidInput: what it is told would start sessions that tell it.
        """

    def borrow_bell(self) -> Bell:
        """A bell for COMMITS that nobody else waits on."""

    def return_bell(self, bell: Bell) -> None:
        """Keep a bell for whoever waits next: making one costs more than a short task."""

    def close(self) -> None:
        """Let go of what the connection holds on this machine."""
