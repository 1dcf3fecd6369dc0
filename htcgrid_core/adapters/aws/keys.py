"""The keys of a grid on AWS: the SecureString that its parameter names, and later ones below it, by their numbers."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from htcgrid_core.adapters.aws.errors import aws_errors, code_of
from htcgrid_core.codecs.signing import KEY_BYTES, Key
from htcgrid_core.domain.errors import AccessDenied, IncompatibleGrid, UnknownGrid
from htcgrid_core.ports.keyring import FIRST, StoredKey, StoredKeys

if TYPE_CHECKING:
    from htcgrid_core.adapters.aws.clients import Clients


class SsmKeys:
    """SSM parameters: a name that exists is not written again, so that of several rotations one makes the key.

    Args:
        first: the name of the first one's parameter.
    """

    def __init__(self, clients: Clients, grid: str, first: str) -> None:
        self._clients = clients
        self._grid = grid
        self._first = first
        self._below = "/" + first.strip("/")  # a path begins with a slash, a name need not

    def read(self) -> StoredKeys:
        """All of them. Whoever may not read those after the first has that one, as before the first rotation."""
        first = self._read_first()
        denied = None
        try:
            later = self._read_later()
        except AccessDenied as error:
            later, denied = [], error
        found = [*([] if first is None else [first]), *later]
        if not found:
            raise UnknownGrid(
                f"there is no grid {self._grid!r} in {self._clients.region}: SSM parameter {self._first} does not "
                f"exist; check name, region and account, or make it with `htcgrid aws bootstrap {self._grid}`"
            )
        return StoredKeys(tuple(found), denied)

    def later_names(self) -> list[str]:
        """The parameters of all of them but the first."""
        return [self._name(stored.number) for stored in self._read_later()]

    def make(self, number: int) -> None:
        """Make a key, unless there is one of this number already; encrypted as the newest one is."""
        with aws_errors(f"SSM parameter {self._name(number)}"):
            try:
                self._clients.ssm.put_parameter(
                    Name=self._name(number),
                    Value=secrets.token_hex(KEY_BYTES),
                    Type="SecureString",
                    **self._encryption(number - 1),
                )
            except ClientError as error:
                if code_of(error) != "ParameterAlreadyExists":
                    raise

    def drop(self, number: int) -> None:
        """Delete a key, if it is there."""
        with aws_errors(f"SSM parameter {self._name(number)}"):
            self._clients.ssm.delete_parameters(Names=[self._name(number)])

    def _name(self, number: int) -> str:
        return self._first if number == FIRST else f"{self._below}/{number}"

    def _read_first(self) -> StoredKey | None:
        with aws_errors(f"SSM parameter {self._first} in {self._clients.region}"):
            try:
                answer = self._clients.ssm.get_parameter(Name=self._first, WithDecryption=True)
            except ClientError as error:
                if code_of(error) != "ParameterNotFound":
                    raise
                return None
        return _stored(FIRST, answer["Parameter"])

    def _read_later(self) -> list[StoredKey]:
        with aws_errors(f"SSM parameters below {self._below} in {self._clients.region}"):
            pages = self._clients.ssm.get_paginator("get_parameters_by_path")
            found = [
                each for page in pages.paginate(Path=self._below, WithDecryption=True) for each in page["Parameters"]
            ]
        numbered = {each["Name"].rpartition("/")[2]: each for each in found}
        return [_stored(int(name), numbered[name]) for name in sorted(filter(str.isdecimal, numbered), key=int)]

    def _encryption(self, number: int) -> dict[str, str]:
        """With which key of KMS that one is encrypted."""
        named = [{"Key": "Name", "Option": "Equals", "Values": [self._name(number)]}]
        found = self._clients.ssm.describe_parameters(ParameterFilters=named)["Parameters"]
        return {"KeyId": found[0]["KeyId"]} if found and found[0].get("KeyId") else {}


def _stored(number: int, parameter: dict[str, object]) -> StoredKey:
    try:
        secret = bytes.fromhex(str(parameter["Value"]))
    except ValueError:
        secret = b""
    if len(secret) < KEY_BYTES:  # what it says must not be told, not even in part
        raise IncompatibleGrid(f"SSM parameter {parameter['Name']} is not {KEY_BYTES} bytes in hexadecimal")
    return StoredKey(number, Key(secret, is_first=number == FIRST), parameter["LastModifiedDate"].timestamp())  # type: ignore[attr-defined]
