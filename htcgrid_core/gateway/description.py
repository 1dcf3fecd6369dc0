"""What a grid says of itself to whoever wants to submit."""

from __future__ import annotations

from dataclasses import dataclass

from htcgrid_core.domain.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class GridDescription:
    """A grid at the moment.

    Attributes:
        url: as whoever connected wrote it.
        pools: the pools that agents serve.
        agents: among which a session submitted now would be shared.
        same_machine: whether workers run where the client does, with its Python and files.
    """

    url: str
    pools: tuple[str, ...]
    agents: int
    same_machine: bool

    def check_pool(self, pool: str) -> None:
        """Whether anybody would run a session of this pool.

        Raises:
            InvalidInput: nobody.
        """
        if pool not in self.pools:
            raise InvalidInput(f"no agent of {self.url} serves pool {pool!r}; it has {', '.join(self.pools)}")
