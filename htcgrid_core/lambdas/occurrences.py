"""What happened in AWS, in the shapes in which it is brought: objects of S3, events, messages, batches of records."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.rule import Rule
from htcgrid_core.domain.s3_uri import S3Uri
from htcgrid_core.lambdas.messages import QueueMessage

CREATED = "ObjectCreated:"


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """A version of an object that was created.

    Attributes:
        version_id: empty in a bucket without versions, where ``sequencer`` tells one write of a key from another.
    """

    uri: S3Uri
    version_id: str
    etag: str
    sequencer: str
    size: int

    @property
    def identity(self) -> str:
        """The same whenever it is brought again, by whatever way."""
        return f"object {self.uri} {self.version_id or f'{self.etag} {self.sequencer}'}"

    def is_of(self, rule: Rule) -> bool:
        """Whether a rule takes it."""
        return rule.kind == "s3" and self.uri.is_below(rule.prefix)

    def told(self) -> dict[str, Any]:
        """It, as an event of a vector."""
        return {
            "bucket": self.uri.bucket,
            "key": self.uri.key,
            "version_id": self.version_id or None,
            "etag": self.etag,
            "size": self.size,
        }


@dataclass(frozen=True, slots=True)
class Brought:
    """An event, a message, or records of a shard.

    Attributes:
        identity: the same whenever it is brought again.
        source: of EventBridge, or an ARN.
        detail_type: of EventBridge.
        values: what came: one value, or one for each record.
        is_batch: whether each value is one event of a vector.
    """

    identity: str
    source: str
    detail_type: str
    values: tuple[Any, ...]
    is_batch: bool = False

    def is_of(self, rule: Rule) -> bool:
        """Whether a rule takes it."""
        if rule.kind != "events":
            return rule.source == self.source
        wanted = rule.events
        return bool(self.detail_type) and (self.source, wanted.detail_type or self.detail_type) == (
            wanted.source,
            self.detail_type,
        )

    def vector(self, rule: Rule) -> list[Any]:
        """The events of the session that it becomes.

        Raises:
            InvalidInput: there is nothing where the rule looks.
        """
        found = [_at(value, rule) for value in self.values]
        return found if self.is_batch or not isinstance(found[0], list) else found[0]


def _at(value: Any, rule: Rule) -> Any:
    for name in rule.path.split(".") if rule.path else ():
        if not isinstance(value, dict) or name not in value:
            raise InvalidInput(f"rule {rule.rule} looks for {rule.path}, and there is no {name!r} in what came")
        value = value[name]
    return value


Occurrence = ObjectVersion | Brought


def in_event(event: Mapping[str, Any]) -> list[Occurrence]:
    """What an event of S3, EventBridge, Kinesis or a topic says that happened; nothing, if something else did.

    Raises:
        InvalidInput: it is none of these.
    """
    try:
        if "detail-type" in event:
            return _of_bus(event)
        records = event["Records"]
        if records and records[0].get("EventSource") == "aws:sns":
            return [one for record in records for one in _told(json.loads(record["Sns"]["Message"]))]
        if records and records[0]["eventSource"] == "aws:kinesis":
            return [_of_records(records)]
        if records and records[0]["eventSource"] == "aws:s3":
            return [_of_notification(record["s3"]) for record in records if record["eventName"].startswith(CREATED)]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise InvalidInput(f"this is no event of S3, EventBridge or Kinesis: {type(error).__name__} {error}") from None
    raise InvalidInput("this is no event of S3, EventBridge or Kinesis")


def in_message(message: QueueMessage) -> Brought:
    """A message as what happened.

    Raises:
        InvalidInput: it is not JSON.
    """
    return Brought(f"message {message.queue} {message.id}", message.queue, "", (message.json(),))


def inside(message: QueueMessage) -> list[Occurrence]:
    """What a queue between S3, EventBridge or a topic and the function was told.

    Raises:
        InvalidInput: nothing of theirs.
    """
    body = message.json()
    if isinstance(body, dict) and body.get("Type") == "Notification" and isinstance(body.get("Message"), str):
        body = QueueMessage(message.id, message.queue, body["Message"], message.group).json()
    if not isinstance(body, dict):
        raise InvalidInput(f"no rule takes messages of {message.queue}")
    return _told(body)


def _told(body: Mapping[str, Any]) -> list[Occurrence]:
    """What S3 or EventBridge said to a queue or a topic."""
    return [] if body.get("Event") == "s3:TestEvent" else in_event(body)


def _of_bus(event: Mapping[str, Any]) -> list[Occurrence]:
    brought = Brought(f"event {event['id']}", str(event["source"]), str(event["detail-type"]), (dict(event),))
    if (brought.source, brought.detail_type) != ("aws.s3", "Object Created"):
        return [brought]
    bucket, found = event["detail"]["bucket"]["name"], event["detail"]["object"]
    return [brought, _version(bucket, found["key"], found, found.get("version-id"), found.get("etag"))]


def _of_notification(told: Mapping[str, Any]) -> ObjectVersion:
    found = told["object"]
    key = unquote_plus(found["key"])
    return _version(told["bucket"]["name"], key, found, found.get("versionId"), found.get("eTag"))


def _version(bucket: str, key: str, found: Mapping[str, Any], version_id: Any, etag: Any) -> ObjectVersion:
    return ObjectVersion(
        uri=S3Uri(bucket, key),
        version_id="" if version_id in (None, "null") else str(version_id),  # null: written while versions were off
        etag=str(etag or "").strip('"'),
        sequencer=str(found.get("sequencer", "")),
        size=int(found.get("size", 0)),
    )


def _of_records(records: list[Mapping[str, Any]]) -> Brought:
    """A batch of one shard, from its first sequence number to its last."""
    arn, shard = str(records[0]["eventSourceARN"]), str(records[0]["eventID"]).partition(":")[0]
    first, last = (str(records[at]["kinesis"]["sequenceNumber"]) for at in (0, -1))
    values = tuple(_data(record["kinesis"], shard) for record in records)
    return Brought(f"records {arn} {shard} {first} {last}", arn, "", values, is_batch=True)


def _data(record: Mapping[str, Any], shard: str) -> Any:
    try:
        return json.loads(base64.b64decode(record["data"], validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise ValueError(f"record {record['sequenceNumber']} of {shard} is not JSON ({error})") from None
