"""Streams of AWS, by their URLs."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from pydantic import ValidationError

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.kinesis import KinesisReader
from htcgrid_core.adapters.aws.kinesis_writer import KinesisWriter
from htcgrid_core.adapters.aws.settings import AwsSettings
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.ports.stream import StreamReader, StreamWriter


def open_kinesis(url: str) -> StreamReader:
    """The stream of ``kinesis://NAME?region=R``, to read it; further options as those of ``aws://``.

    Raises:
        InvalidInput: it is no such URL.
    """
    return KinesisReader(*_opened(url))


def kinesis_writer(url: str) -> StreamWriter:
    """The same stream, to write into it.

    Raises:
        InvalidInput: it is no such URL.
    """
    return KinesisWriter(*_opened(url))


def _opened(url: str) -> tuple[Clients, str]:
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
    return Clients(settings), parts.netloc
