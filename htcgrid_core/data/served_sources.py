"""What a server reads for whom: prefixes and connections that its operator registered for each tenant."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from htcgrid_core.data.base import Source
from htcgrid_core.data.confined import check_prefix, confined, prefix_of
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.server_source import NAME, ServerSource
from htcgrid_core.domain.session import TENANT

if TYPE_CHECKING:
    from htcgrid_core.data.served_database import ServedDatabase

_VARIABLE = "env:"


class Connection(BaseModel):
    """A database, as its operator registers it.

    Attributes:
        url: for SQLAlchemy, or ``env:NAME`` of a variable that has it.
        tables: that requests may name, with their schemas.
        queries: whether they may have any SELECT run; the rights of the URL's user are the only limit then.
        timeout: seconds in which a statement ends, the reading of its rows included.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str = Field(repr=False)
    tables: frozenset[str] = frozenset()
    queries: bool = False
    timeout: Annotated[float, Field(gt=0, le=86400)] = 300.0


class Registered(BaseModel):
    """What one tenant's requests may name."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    prefixes: tuple[str, ...] = ()
    connections: dict[Annotated[str, Field(pattern=NAME)], Connection] = Field(default_factory=dict)


@dataclass(frozen=True)
class ServedSources:
    """All tenants' prefixes and connections."""

    tenants: Mapping[str, Registered] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> ServedSources:
        """The operator's settings, a JSON object: to each tenant's name its prefixes and connections.

        Raises:
            InvalidInput: they cannot be read, others may read the passwords in them, or something in them is no good.
        """
        try:
            text = path.read_text()
            mode = path.stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{path}: the sources cannot be read: {error}") from error
        try:
            given = json.loads(text)
            if not isinstance(given, dict):
                raise InvalidInput(f"{path}: the sources are an object, with a tenant's name to each of its entries")
            tenants = {name: Registered.model_validate(one) for name, one in given.items()}
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False, include_context=False)
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in found[:5])
            raise InvalidInput(f"{path}: the sources are not as they should be: {wrong}") from None
        except ValueError as error:
            raise InvalidInput(f"{path}: the sources are no JSON: {error}") from None
        for tenant, registered in tenants.items():
            if not TENANT.fullmatch(tenant):
                raise InvalidInput(f"{path}: {tenant!r} is no tenant's name")
            for prefix in registered.prefixes:
                check_prefix(prefix)
            for name, connection in registered.connections.items():
                if mode & (stat.S_IROTH | stat.S_IWOTH) and not connection.url.startswith(_VARIABLE):
                    raise InvalidInput(f"{path} may be read by everybody, with the URL of {name!r} in it: chmod 600")
                _database(name, connection)
        return cls(tenants)

    def check(self, tenant: str, asked: ServerSource) -> None:
        """Whether the server may read this for a tenant. Nothing is read, or connected to, for this.

        Raises:
            InvalidInput: it is not registered.
        """
        registered = self.tenants.get(tenant, Registered())
        if asked.place is not None:
            prefix_of(asked.place, registered.prefixes)
            return
        name = asked.connection or ""
        connection = registered.connections.get(name)
        if connection is None:
            listed = ", ".join(sorted(registered.connections)) or "none"
            raise InvalidInput(f"this server has no connection {name!r} for the tenant: {listed}")
        if asked.query is not None and not connection.queries:
            raise InvalidInput(f"connection {name!r} takes no queries of its users: name a table")
        if asked.table is not None and not connection.queries and asked.table not in connection.tables:
            listed = ", ".join(sorted(connection.tables)) or "none"
            raise InvalidInput(f"connection {name!r}: {asked.table!r} is no table that is registered: {listed}")

    def open(self, tenant: str, asked: ServerSource) -> Source:
        """A source that ``check`` has let pass. May block: folders are listed, and footers read.

        Raises:
            InvalidInput: it is not registered, or cannot be read.
        """
        self.check(tenant, asked)
        registered = self.tenants[tenant]
        if asked.place is not None:
            return _folder(asked, asked.place, prefix_of(asked.place, registered.prefixes))
        return _rows(asked, asked.connection or "", registered.connections[asked.connection or ""])


def _folder(asked: ServerSource, place: str, prefix: str) -> Source:
    from htcgrid_core.data.folder import FolderSource

    chosen: dict[str, Any] = {"columns": asked.columns, "where": asked.where, "partitions": asked.partitions or None}
    chosen |= asked.reading
    source = FolderSource(confined(place, prefix), asked.kind, **chosen)
    if source.kind == "json":
        raise InvalidInput(f"{place}: a JSON array is read whole, and so not by a server: write JSON Lines")
    return source


def _rows(asked: ServerSource, name: str, connection: Connection) -> Source:
    from htcgrid_core.data.served_database import query_of_table
    from htcgrid_core.data.sql_source import SqlSource

    query, parameters = asked.query, dict(asked.parameters)
    if query is None:
        query, parameters = query_of_table(asked.table or "", asked.columns, asked.where)
    return SqlSource(_database(name, connection), query, parameters=parameters, order_by=asked.order_by)


def _database(name: str, connection: Connection) -> ServedDatabase:
    from htcgrid_core.data.served_database import ServedDatabase

    url = connection.url
    if url.startswith(_VARIABLE):
        variable = url.removeprefix(_VARIABLE)
        url = os.environ.get(variable, "")
        if not url:
            raise InvalidInput(f"connection {name!r}: the environment has no variable {variable}")
    return ServedDatabase(name, url, connection.timeout)
