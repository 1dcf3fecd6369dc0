"""Streams of AWS, by their URLs."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from pydantic import ValidationError

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.kinesis import KinesisReader
from htcgrid_core.adapters.aws.settings import AwsSettings
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.ports.stream import StreamReader


def open_kinesis(url: str) -> StreamReader:
    """The stream of ``kinesis://NAME?region=R``; further options as those of ``aws://``.

    Raises:
        InvalidInput: it is no such URL.
    """
    parts = urlsplit(url)
    if parts.scheme != "kinesis" or not parts.netloc or parts.path.strip("/"):
        raise InvalidInput(f"{url!r} is no stream of Kinesis: kinesis://NAME?region=eu-west-1")
    try:
        settings = AwsSettings.model_validate(dict(parse_qsl(parts.query, strict_parsing=bool(parts.query))))
    except (ValidationError, ValueError) as error:
        said = (
            "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors())
            if isinstance(error, ValidationError)
            else error
        )
        raise InvalidInput(f"{url!r} is no stream of Kinesis: {said}") from error
    return KinesisReader(Clients(settings), parts.netloc)
