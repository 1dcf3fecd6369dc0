"""Rows of sessions into a topic of Kafka, each session's in one transaction, once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from htcgrid_core.adapters.kafka.errors import grid_error, kafka_errors
from htcgrid_core.adapters.kafka.topic import PREFERRED, KafkaTopic
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput
from htcgrid_core.ports.stream import StreamRow

_log = logging.getLogger(__name__)
CALL_SECONDS = 30.0
PREFIX = "htcgrid-"  # of transactional ids and groups, for who permits them
NAME_CHARACTERS = 500
_READING = {"enable.auto.commit": False, "isolation.level": "read_committed"}  # to wait for what is being committed


class KafkaWriter:
    """See ``StreamWriter``.

    A session has a transactional id, so that whoever writes it last fences those before, and a group, in which the
    transaction itself notes what it wrote: rows and note are there together or not at all. Who finds his rows noted
    has nothing to do. The note lasts as long as the brokers keep offsets of groups without members.
    """

    def __init__(self, topic: KafkaTopic) -> None:
        self._topic = topic
        self._trouble: KafkaError | None = None  # what a client told last, of none of its calls
        self.name = topic.name

    def check(self) -> None:
        """See ``StreamWriter``."""
        consumer = self._client(Consumer, {"group.id": PREFIX, **_READING})
        try:
            found = consumer.list_topics(self._topic.topic, timeout=CALL_SECONDS).topics[self._topic.topic]
        except KafkaException as error:
            consumer.poll(0)  # in which the client tells why
            raise grid_error(self._trouble or error.args[0], self._topic, "asking for the topic") from None
        finally:
            consumer.close()
        if found.error is not None:
            raise grid_error(found.error, self._topic)

    def check_session(self, session: str) -> None:
        """See ``StreamWriter``."""
        if len(session) > NAME_CHARACTERS:
            raise InvalidInput(f"{self.name}: a session's name there has {NAME_CHARACTERS} characters at most")

    def append(self, session: str, digest: str, rows: Iterable[StreamRow]) -> None:
        """See ``StreamWriter``: all rows or none are seen by who reads what is committed, and once."""
        of_session = hashlib.blake2b(f"{self._topic.topic} {session}".encode(), digest_size=16).hexdigest()
        name = f"{PREFIX}{of_session}"
        producer = self._client(Producer, {"transactional.id": name, "enable.idempotence": True})
        notes = self._client(Consumer, {"group.id": name, **_READING})
        try:
            with kafka_errors(self._topic, f"beginning the transaction of session {session}"):
                producer.init_transactions(CALL_SECONDS)
            if self._noted(notes) == digest:
                _log.info("session %s is in %s already", session, self.name)
                return
            self._commit(producer, notes, session, digest, rows)
        finally:
            notes.close()

    def _client(self, kind: Any, settings: dict[str, Any]) -> Any:
        with kafka_errors(self._topic, "Kafka's client"):
            told = {"error_cb": self._hear}
            return kind({**PREFERRED, **self._topic.settings, **settings, **told}, logger=_log)

    def _hear(self, error: KafkaError) -> None:
        self._trouble = error

    def _noted(self, notes: Any) -> str | None:
        """The digest of what was written of the session last."""
        try:
            (found,) = notes.committed([TopicPartition(self._topic.topic, 0)], timeout=CALL_SECONDS)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return None
            raise grid_error(error.args[0], self._topic, "looking for what was written before") from None
        if found.error is not None:
            raise grid_error(found.error, self._topic, "looking for what was written before")
        return found.metadata if found.offset >= 0 else None

    def _commit(self, producer: Any, notes: Any, session: str, digest: str, rows: Iterable[StreamRow]) -> None:
        try:
            producer.begin_transaction()
            count = sum(self._produce(producer, session, row) for row in rows)
            self._note(producer, notes, count, digest)
            producer.commit_transaction()  # within transaction.timeout.ms
        except BaseException as error:
            self._abort(producer)
            if not isinstance(error, KafkaException):
                raise
            failure = error.args[0]
            if failure.code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH):
                raise GridUnavailable(f"{self.name}: another writer of session {session} has taken over") from None
            raise grid_error(failure, self._topic, f"writing session {session}") from None

    def _note(self, producer: Any, notes: Any, count: int, digest: str) -> None:
        note = TopicPartition(self._topic.topic, 0, count, digest)
        producer.send_offsets_to_transaction([note], notes.consumer_group_metadata(), CALL_SECONDS)

    def _produce(self, producer: Any, session: str, row: StreamRow) -> int:
        """Hand over a row; how many that were."""
        index = str(row.index)
        headers = [("session", session.encode()), ("task_index", index.encode())]
        while True:
            try:
                producer.produce(self._topic.topic, value=row.data, key=f"{session}/{index}", headers=headers)
            except BufferError:
                producer.poll(1.0)  # until some have gone
            except KafkaException as error:
                if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                size = f"{len(row.data):,} bytes"
                raise InvalidInput(
                    f"{self.name}: the row of task {index} of session {session} has {size}, more than "
                    "message.max.bytes of the configuration; nothing of the session is written"
                ) from None
            else:
                producer.poll(0)
                return 1

    def _abort(self, producer: Any) -> None:
        try:
            producer.abort_transaction(CALL_SECONDS)
        except KafkaException as error:  # the brokers do so by themselves, or at the next try of this session
            _log.info("%s: %s", self.name, self._topic.without_secrets(str(error)))
