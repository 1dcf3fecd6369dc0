"""The one SSM parameter that a grid's name stands for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from htcgrid_core.adapters.aws.errors import aws_errors, code_of
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import IncompatibleGrid, InvalidInput, UnknownGrid
from htcgrid_core.domain.retention import TenantRetention

if TYPE_CHECKING:
    from htcgrid_core.adapters.aws.clients import Clients

NAME = re.compile(r"[a-z][a-z0-9-]{0,23}")
PARENT = "/htcgrid"


class PoolQueues(BaseModel):
    """The queues' URLs of one pool, by priority, and that of their dead letters."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    high: str
    normal: str
    low: str
    dead: str


class Defaults(BaseModel):
    """What an agent or client of this grid assumes unless told otherwise.

    Attributes:
        lease_seconds: of agents.
        agents: that each pool can be scaled to, so that bundles are cut small enough before they are there.
        cache_bytes: of blobs and unpacked packages that the agents of a machine keep on its disk.
        retention: how long tenants' sessions may be kept; ``*`` is of those that are not named.
        audit_days: for which entries of the audit are kept.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    lease_seconds: float = Field(default=limits.LEASE_SECONDS, ge=1, le=3600)
    agents: int = Field(default=1, ge=1)
    cache_bytes: int = Field(default=limits.CACHE_BYTES, ge=0)
    retention: dict[str, TenantRetention] = Field(default_factory=dict)
    audit_days: float = Field(default=limits.AUDIT_SECONDS / 86400, ge=1, le=36_500)


class GridParameter(BaseModel):
    """What ``/htcgrid/NAME`` says, as JSON; whoever makes the resources (bootstrap, Terraform) writes it.

    Attributes:
        version: of this form.
        table, bucket: names.
        account: that owns the bucket; empty if whoever wrote this did not say.
        queues: of each pool.
        key: name of the SecureString parameter with the first secret that signs pickles, as hex (keys.py).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # a later Terraform module may say more

    version: Literal[1] = 1
    table: str
    bucket: str
    account: str = Field(default="", pattern=r"^([0-9]{12})?$")
    queues: dict[str, PoolQueues] = Field(min_length=1)
    key: str
    defaults: Defaults = Defaults()


def parameter_name(name: str) -> str:
    """The parameter of grid ``name``."""
    return f"{PARENT}/{name}"


def key_name(name: str) -> str:
    """The parameter of its secret, unless the first one names another."""
    return f"{parameter_name(name)}/key"


def read_parameter(clients: Clients, name: str) -> GridParameter:
    """Where grid ``name`` keeps everything.

    Raises:
        UnknownGrid: there is no such grid in this account and region.
        IncompatibleGrid: its parameter is of another version.
        AccessDenied, GridUnavailable: as for every call of AWS.
    """
    return parse(name, _read(clients, name, parameter_name(name)))


def parse(name: str, text: str) -> GridParameter:
    """What the parameter of grid ``name`` says.

    Raises:
        IncompatibleGrid: it is of another version.
    """
    try:
        return GridParameter.model_validate_json(text)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise IncompatibleGrid(
            f"SSM parameter {parameter_name(name)} does not describe a grid that this version knows: {wrong}; "
            f"`htcgrid aws bootstrap {name}` or the Terraform module of this version writes it"
        ) from None


def read_secret(clients: Clients, parameter: str) -> str:
    """The text of a SecureString that an operator keeps.

    Raises:
        InvalidInput: it is not there. AccessDenied, GridUnavailable: as for every call of AWS.
    """
    text = _text(clients, parameter, WithDecryption=True)
    if text is None:
        raise InvalidInput(f"SSM parameter {parameter} does not exist in {clients.region}: its operator puts it there")
    return text


def _read(clients: Clients, name: str, parameter: str) -> str:
    text = _text(clients, parameter)
    if text is None:
        raise UnknownGrid(
            f"there is no grid {name!r} in {clients.region}: SSM parameter {parameter} does not exist; check "
            f"name, region and account, or make it with `htcgrid aws bootstrap {name}`"
        )
    return text


def _text(clients: Clients, parameter: str, **options: Any) -> str | None:
    from botocore.exceptions import ClientError

    with aws_errors(f"SSM parameter {parameter} in {clients.region}"):
        try:
            answer = clients.ssm.get_parameter(Name=parameter, **options)
        except ClientError as error:
            if code_of(error) != "ParameterNotFound":
                raise
            return None
    return str(answer["Parameter"]["Value"])
