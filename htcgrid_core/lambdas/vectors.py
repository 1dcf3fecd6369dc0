"""Vectors of events in S3: JSON Lines, a JSON array, CSV, Parquet, or what a Distributed Map has written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from htcgrid_core.adapters.aws.s3.objects import S3Objects
from htcgrid_core.client.event_files import events_from, format_of
from htcgrid_core.client.event_source import events_as
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.rule import VectorFormat
from htcgrid_core.domain.s3_uri import S3Uri

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 << 20


def vector(
    objects: S3Objects, uri: S3Uri, kind: VectorFormat | None = None, *, version_id: str = "", etag: str = ""
) -> Iterable[Any]:
    """The events in an object, as a named handler gets them; streamed, but for a JSON array.

    Args:
        kind: None to tell from the key: .json, .csv, .tsv, .parquet, ``manifest.json`` of a ResultWriter, and JSON
            Lines for any other; also compressed by gzip or zstd.

    Raises:
        ObjectNotFound: there is no such object, or another version by now.
        InvalidInput: it is not what it should be; much of that is raised when the events are taken.
    """
    kind = kind or ("manifest" if uri.key.rpartition("/")[2] == MANIFEST else format_of(uri.key))
    file = objects.open(uri, version_id, etag)
    if kind == "manifest":
        return _of_result_writer(objects, uri, file)
    return events_as("json", events_from(file, str(uri), kind, closing=True))


def _of_result_writer(objects: S3Objects, uri: S3Uri, file: BinaryIO) -> Iterator[Any]:
    """The outputs of a Map Run's child executions that succeeded, in the order of its files."""
    with file:
        text = file.read(MAX_MANIFEST_BYTES + 1)
    try:
        manifest = json.loads(text)
        bucket = manifest["DestinationBucket"]
        keys = [str(entry["Key"]) for entry in manifest["ResultFiles"]["SUCCEEDED"]]
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidInput(f"{uri} is no manifest of a Distributed Map's ResultWriter ({error})") from error
    folder = S3Uri(uri.bucket, uri.key.removesuffix(uri.key.rpartition("/")[2]))
    for key in keys:
        part = S3Uri(str(bucket), key)
        if not part.is_below(folder):
            raise InvalidInput(f"{uri} names {part}, which does not lie beside it")
    return (_output(record, uri) for key in keys for record in vector(objects, S3Uri(uri.bucket, key), _part(key)))


def _part(key: str) -> VectorFormat:
    return "jsonl" if key.endswith(".jsonl") else "json"


def _output(record: Any, uri: S3Uri) -> Any:
    """What a child execution returned: its record has it as a text, a writer that transforms it as it is."""
    if not isinstance(record, dict) or "ExecutionArn" not in record or "Output" not in record:
        return record
    try:
        return json.loads(record["Output"])
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{uri}: the output of {record['ExecutionArn']} is not JSON ({error})") from error
