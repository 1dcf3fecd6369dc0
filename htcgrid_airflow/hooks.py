"""HTCGridHook: a grid by an Airflow connection."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from airflow.sdk import BaseHook

from htcgrid_airflow.compat import AirflowNotFoundException
from htcgrid_airflow.defaults import DEFAULT_CONN_ID
from htcgrid_core import Grid, GridError, InvalidInput, UnknownGrid, connect

Priority = Literal["high", "normal", "low"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a connection leads.

    Attributes:
        url: the grid's URL.
        pool, priority, tenant: for sessions that do not say otherwise.
        aws_conn_id: the AWS connection whose credentials are borrowed.
        api_token: by which a grid's server knows who asks: the connection's password.
        allow_pickle: whether a server's pickled results are loaded.
    """

    url: str
    pool: str = "default"
    priority: Priority = "normal"
    tenant: str = "default"
    aws_conn_id: str | None = None
    api_token: str | None = field(default=None, repr=False)
    allow_pickle: bool = False


class HTCGridHook(BaseHook):
    """A grid, named by an Airflow connection of type ``htcgrid`` or by its URL.

    Args:
        htcgrid_conn_id: the connection.
        grid: a grid's URL, instead of the connection.
    """

    conn_name_attr = "htcgrid_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "htcgrid"
    hook_name = "HTC-Grid"

    def __init__(self, htcgrid_conn_id: str = DEFAULT_CONN_ID, *, grid: str | None = None) -> None:
        super().__init__()
        self.htcgrid_conn_id = htcgrid_conn_id
        self.grid = grid

    @cached_property
    def target(self) -> Target:
        """Where the connection, or the URL given instead, leads.

        Raises:
            UnknownGrid: there is no such connection, or it names no grid.
        """
        if self.grid:
            return Target(self.grid)
        try:
            connection = self.get_connection(self.htcgrid_conn_id)
        except AirflowNotFoundException as error:
            raise UnknownGrid(
                f"there is no Airflow connection {self.htcgrid_conn_id!r}: create one of type htcgrid, or give the "
                "operator a grid's URL, such as grid='local://'"
            ) from error
        target = target_of(self.htcgrid_conn_id, connection.host, connection.extra_dejson)
        return replace(target, api_token=connection.password or None)

    def connect(self, *, create: bool = True) -> Grid:
        """A connection of its own, to be closed by the caller.

        Args:
            create: whether an embedded grid is made where there is none.

        Raises:
            UnknownGrid: there is no such connection, or nobody knows such a URL.
            AccessDenied: the grid does not know whoever the connection says.
            GridUnavailable: the grid cannot be reached.
        """
        target = self.target
        return connect(
            target.url,
            aws_session=self._aws_session(),
            api_token=target.api_token,
            allow_pickle=target.allow_pickle,
            create=create,
        )

    def _aws_session(self) -> Any | None:
        """The boto3 session of the AWS connection that credentials are borrowed from."""
        conn_id = self.target.aws_conn_id
        if conn_id is None or not self.target.url.startswith("aws:"):
            return None
        try:
            from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
        except ImportError as error:
            raise UnknownGrid(
                f"connection {self.htcgrid_conn_id!r} borrows the credentials of {conn_id!r}, which needs "
                "apache-airflow-providers-amazon"
            ) from error
        return AwsBaseHook(aws_conn_id=conn_id, client_type="sts").get_session()

    @cached_property
    def conn(self) -> Grid:
        """The hook's connection; made when first used."""
        return self.connect()

    def get_conn(self) -> Grid:
        """The grid; the same one each time."""
        return self.conn

    def test_connection(self) -> tuple[bool, str]:
        """Whether the grid can be used, and a sentence that says so or what is wrong."""
        try:
            with self.connect() as grid:
                load = grid.measure()
        except GridError as error:
            return False, f"{type(error).__name__}: {error}"
        except ImportError as error:
            return False, f"this grid needs a package that is not installed here: {error}"
        return True, f"Connected to {self.target.url}: {load}"


def target_of(conn_id: str, host: str | None, extra: dict[str, Any]) -> Target:
    """What a connection's fields say.

    Raises:
        UnknownGrid: they name no grid.
        InvalidInput: the priority is none.
    """
    fields = {key: value for key, value in extra.items() if value not in (None, "")}
    url = str(fields.get("grid") or (host if host and "://" in host else ""))
    if not url:
        raise UnknownGrid(f"connection {conn_id!r} names no grid: fill in its Grid URL, for example local://")
    priority = fields.get("priority", "normal")
    if priority not in ("high", "normal", "low"):
        raise InvalidInput(f"connection {conn_id!r}: {priority!r} is not a priority: high, normal or low")
    return Target(
        url=with_region(url, fields.get("region")),
        pool=str(fields.get("pool", "default")),
        priority=cast("Priority", priority),
        tenant=str(fields.get("tenant", "default")),
        aws_conn_id=fields.get("aws_conn_id"),
        allow_pickle=fields.get("allow_pickle") is True,
    )


def with_region(url: str, region: str | None) -> str:
    """An ``aws://`` URL with its region; one that names another, or several, keeps them."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    if not region or parts.scheme != "aws" or any(name in ("region", "regions") for name, _ in query):
        return url
    return urlunsplit(parts._replace(query=urlencode([*query, ("region", region)], quote_via=quote)))
