"""The address of an embedded grid: ``local://`` or ``local:///PATH``, with options behind a question mark."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import UnknownGrid
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.local.directory import Directory
from htcgrid_core.local.fleet import Fleet, read_size


class LocalOptions(BaseModel):
    """What may follow the question mark of a ``local://`` URL.

    Attributes:
        agents: agent processes, at least.
        slots: tasks that each runs at once; 0 for the cores of this machine, or for as many as agents that run have.
        idle: seconds after which idle agents leave.
        pools: NAME:MB, separated by commas: pools with as many agents and slots each, and the memory of their slots.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    agents: int = Field(default=1, ge=1, le=64)
    slots: int = Field(default=0, ge=0, le=4096)
    pools: tuple[PoolSize, ...] = ()
    idle: float = Field(default=limits.AGENT_IDLE_SECONDS, ge=0, allow_inf_nan=False)

    @field_validator("pools", mode="before")
    @classmethod
    def _read(cls, text: object) -> object:
        found = tuple(read_size(each) for each in text.split(",")) if isinstance(text, str) else text
        if isinstance(found, tuple) and len({size.pool for size in found}) < len(found):
            raise ValueError("a pool is named twice")
        return found


def parse_local(url: str) -> tuple[Directory, Fleet]:
    """The directory and agents that a ``local://`` URL names.

    Raises:
        UnknownGrid: it is not such a URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UnknownGrid(f"{url!r} is not a URL: {error}") from error
    if parts.scheme == "aws":
        raise UnknownGrid(f"{url!r} is on AWS; this is about the embedded grid: local:// or local:///PATH")
    if parts.scheme == "local" and not url.lower().startswith("local://"):
        raise UnknownGrid(f"{url!r} lacks slashes: a grid's directory is local:///PATH, and local:// the one at home")
    if parts.scheme != "local":
        raise UnknownGrid(f"{url!r} is not a grid's URL: write local://, local:///PATH, aws://NAME or https://HOST")
    if parts.netloc or parts.fragment:
        raise UnknownGrid(f"{url!r}: a directory needs three slashes, as in local:///{parts.netloc or 'PATH'}")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if twice := sorted({name for name, _ in pairs if [each for each, _ in pairs].count(name) > 1}):
        raise UnknownGrid(f"{url!r} says more than once: {', '.join(twice)}")
    try:
        options = LocalOptions.model_validate(dict(pairs))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UnknownGrid(f"{url!r}: {wrong} (options are agents, slots, pools and idle)") from error
    path = unquote(parts.path, errors="surrogateescape")  # as the names of files are
    if (path and not path.startswith("/")) or "\0" in path:
        raise UnknownGrid(f"{url!r}: name the whole path of a directory, as in local:///PATH")
    directory = Directory(Path(path)) if path not in ("", "/") else Directory.default()
    idle = options.idle if "idle" in options.model_fields_set else None
    return directory, Fleet(options.agents, options.slots, idle, options.pools)
