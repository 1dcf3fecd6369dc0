"""Streams by their URLs, to read them and to write into them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from htcgrid_core.data.base import shown
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.extras import what_is_missing
from htcgrid_core.ports.stream import StreamReader, StreamWriter

_FORMS = "kinesis://NAME?region=eu-west-1 or kafka://HOST:PORT/TOPIC"


def is_stream(uri: str) -> bool:
    """Whether a URI is a stream's."""
    return uri.startswith(("kinesis://", "kafka://"))


def open_stream(url: str) -> StreamReader:
    """The stream of a URL.

    Raises:
        InvalidInput: it names none.
    """
    with _loading(url):
        if url.startswith("kafka://"):
            from htcgrid_core.adapters.kafka.reader import KafkaReader
            from htcgrid_core.adapters.kafka.topic import topic_of

            return KafkaReader(topic_of(url))
        from htcgrid_core.cloud.streams import open_kinesis

        return open_kinesis(url)


def open_writer(url: str) -> StreamWriter:
    """The stream of a URL, to append to it.

    Raises:
        InvalidInput: it names none.
    """
    with _loading(url):
        if url.startswith("kafka://"):
            from htcgrid_core.adapters.kafka.topic import topic_of
            from htcgrid_core.adapters.kafka.writer import KafkaWriter

            return KafkaWriter(topic_of(url))
        from htcgrid_core.cloud.streams import kinesis_writer

        return kinesis_writer(url)


@contextlib.contextmanager
def _loading(url: str) -> Iterator[None]:
    if not is_stream(url):
        raise InvalidInput(f"{shown(url)!r} is no stream: {_FORMS}")
    try:
        yield
    except ModuleNotFoundError as error:
        raise InvalidInput(f"{shown(url)} {what_is_missing(error) or error}") from error
