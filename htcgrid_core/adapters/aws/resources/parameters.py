"""The parameters of a grid: the one that its name stands for, and its secret."""

from __future__ import annotations

import re
import secrets

from botocore.exceptions import ClientError

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.errors import aws_errors, code_of
from htcgrid_core.adapters.aws.parameter import PARENT, GridParameter, key_name, parameter_name
from htcgrid_core.adapters.aws.resources.patience import Patience
from htcgrid_core.codecs.signing import KEY_BYTES
from htcgrid_core.domain.errors import InvalidInput

NOT_READY = "TooManyUpdates"
STANDARD_CHARACTERS = 4096
ADVANCED_CHARACTERS = 8192  # for five cents a month


class Parameter:
    """An SSM parameter of a grid."""

    def __init__(self, clients: Clients, grid: str, name: str, patience: Patience) -> None:
        self.name = name
        self._grid = grid
        self._clients = clients
        self._patience = patience

    @property
    def label(self) -> str:
        """What it is, for people."""
        return f"parameter {self.name}"

    def owner(self) -> str | None:
        """The grid that its path names: no name has a slash. Empty for a secret that is kept elsewhere."""
        with aws_errors(f"SSM parameter {self.name}"):
            found = self._clients.ssm.get_parameters(Names=[self.name])["Parameters"]
        if not found:
            return None
        key = key_name(self._grid)
        ours = self.name in (parameter_name(self._grid), key) or self.name.startswith(f"{key}/")
        return self._grid if ours else ""

    def claim(self, grid: str) -> None:
        """Its path says it."""

    def named_in(self, parameter: str) -> bool:
        """Whether a grid's parameter names it, or the key before it."""
        first = re.sub(r"/[0-9]+$", "", self.name)
        return any(re.search(rf'"key"\s*:\s*"{re.escape(name)}"', parameter) for name in (self.name, first))

    def read(self, version: int | None = None) -> tuple[int, str] | None:
        """Its version and what it says, now or in an earlier version; None if there is none."""
        which = self.name if version is None else f"{self.name}:{version}"
        with aws_errors(f"SSM parameter {which}"):
            try:
                found = self._clients.ssm.get_parameter(Name=which)["Parameter"]
            except ClientError as error:
                if code_of(error) not in ("ParameterNotFound", "ParameterVersionNotFound"):
                    raise
                return None
        return found["Version"], found["Value"]

    def write(self, value: str, *, over: bool = True) -> int | None:
        """Write it, in the tier that has room for it.

        Args:
            over: whether what is there is written over.

        Returns:
            The version that it is now; None if it was there and is left.
        """
        tier = {"Tier": "Advanced"} if len(value) > STANDARD_CHARACTERS else {}
        return self._put({"Value": value, "Type": "String", "Overwrite": over, **tier})

    def make_secret(self) -> None:
        """Make a secret unless there is one: a new one would make what was signed worthless."""
        self._put({"Value": secrets.token_hex(KEY_BYTES), "Type": "SecureString"})

    def _put(self, request: dict[str, object]) -> int | None:
        wait = self._patience.begin()
        while True:
            with aws_errors(f"SSM parameter {self.name}"):
                try:
                    return int(self._clients.ssm.put_parameter(Name=self.name, **request)["Version"])
                except ClientError as error:
                    if code_of(error) == "ParameterAlreadyExists":
                        return None
                    if code_of(error) != NOT_READY:
                        raise
            wait.longer(f"{self.label} is still being deleted or changed")

    def remove(self) -> None:
        """Remove it, if it is there."""
        with aws_errors(f"SSM parameter {self.name}"):
            self._clients.ssm.delete_parameters(Names=[self.name])


def parameters_of_others(clients: Clients, grid: str) -> dict[str, str]:
    """What the parameters of all other grids in this account and region say, by grid."""
    with aws_errors(f"SSM parameters below {PARENT} in {clients.region}"):
        pages = clients.ssm.get_paginator("get_parameters_by_path").paginate(Path=PARENT)
        found = {each["Name"].rpartition("/")[2]: str(each["Value"]) for page in pages for each in page["Parameters"]}
    return {name: text for name, text in found.items() if name != grid}


def text_of(parameter: GridParameter) -> str:
    """What is written into a grid's parameter."""
    return parameter.model_dump_json()


def check_size(parameter: GridParameter) -> None:
    """See that there is room for it.

    Raises:
        InvalidInput: there are too many pools.
    """
    size = len(text_of(parameter))
    if size > ADVANCED_CHARACTERS:
        raise InvalidInput(
            f"{len(parameter.queues)} pools are too many for one grid: its parameter would have {size:,} characters; "
            f"SSM allows {ADVANCED_CHARACTERS:,}; make another grid for some of them. Nothing was made"
        )
