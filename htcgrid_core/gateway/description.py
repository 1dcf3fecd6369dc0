"""What a grid says of itself to whoever wants to submit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.session import DEFAULT_TENANT, SessionSpec


@dataclass(frozen=True, slots=True)
class GridDescription:
    """A grid at the moment.

    Attributes:
        url: as whoever connected wrote it.
        pools: the pools that agents serve.
        agents: among which a session submitted now would be shared.
        same_machine: whether workers run where the client does, with its Python and files.
        tenant: whose a session is that names none.
        allows_pickle: whether pickled results are loaded here: whoever made them could run code.
        takes_parts: whether parts of large uploads can be put into its storage past its server.
        request_bytes: that one request to a server may have; None if there is no such limit, or it is not known.
    """

    url: str
    pools: tuple[str, ...]
    agents: int
    same_machine: bool
    tenant: str = DEFAULT_TENANT
    allows_pickle: bool = True
    takes_parts: bool = False
    request_bytes: int | None = None

    def without_pickles(self) -> GridDescription:
        """The same grid, of which no pickle is loaded."""
        return replace(self, allows_pickle=False)

    def check_pickle(self) -> None:
        """Whether the results of Python calls would be loaded.

        Raises:
            InvalidInput: they would not be.
        """
        if not self.allows_pickle:
            raise InvalidInput(
                f"the results of calls are pickled, and whoever loads them lets {self.url} run anything here: "
                "connect(url, allow_pickle=True) if you trust that server as your own code"
            )

    def check_pool(self, pool: str) -> None:
        """Whether anybody would run a session of this pool.

        Raises:
            InvalidInput: nobody.
        """
        if pool not in self.pools:
            raise InvalidInput(f"no agent of {self.url} serves pool {pool!r}; it has {', '.join(self.pools)}")

    def check_pools(self, spec: SessionSpec) -> None:
        """Whether anybody would run a session, there and where its tasks may move.

        Raises:
            InvalidInput: nobody, or they would move to where they are.
        """
        self.check_pool(spec.pool)
        if (larger := spec.retry.on_out_of_memory) is not None:
            self.check_pool(larger)
            if larger == spec.pool:
                raise InvalidInput(f"on_out_of_memory names the session's own pool, {larger!r}: name a larger one")
