"""Texts that an operator keeps for a grid: in SSM parameters, or in secrets of Secrets Manager."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from htcgrid_core.adapters.aws.errors import aws_errors, code_of
from htcgrid_core.adapters.aws.parameter import read_secret
from htcgrid_core.domain.errors import InvalidInput

if TYPE_CHECKING:
    from htcgrid_core.adapters.aws.clients import Clients

SECRET = re.compile(r"arn:[a-z-]+:secretsmanager:(?P<region>[a-z0-9-]+):\d{12}:secret:\S+")
_GONE = ("ResourceNotFoundException", "InvalidRequestException")  # not there, or to be deleted


def title_of(where: str) -> str:
    """What a place is, for messages: it is a secret if it is an ARN of one, and a parameter's name else."""
    return f"secret {where}" if SECRET.fullmatch(where) else f"SSM parameter {where}"


def read_kept(clients: Clients, where: str) -> str:
    """The text that is kept there now.

    Args:
        where: the ARN of a secret, which may be in another region; or the name of a SecureString parameter.

    Raises:
        InvalidInput: it is not there, or no text. AccessDenied, GridUnavailable: as for every call of AWS.
    """
    found = SECRET.fullmatch(where)
    return read_secret(clients, where) if found is None else _secret(clients, where, found["region"])


def _secret(clients: Clients, arn: str, region: str) -> str:
    from botocore.exceptions import ClientError

    with aws_errors(f"secret {arn}"):
        try:
            answer = clients.of("secretsmanager", region).get_secret_value(SecretId=arn)
        except ClientError as error:
            if code_of(error) not in _GONE:
                raise
            raise InvalidInput(
                f"secret {arn} does not exist, or is being deleted: its operator puts it there"
            ) from None
    if "SecretString" not in answer:
        raise InvalidInput(f"secret {arn} is bytes: its operator puts a text there")
    return str(answer["SecretString"])
