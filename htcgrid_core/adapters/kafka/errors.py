"""What Kafka's failures mean to the grid: one sentence each, and a type that says whether to try again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from htcgrid_core.adapters.kafka.topic import KafkaTopic
from htcgrid_core.domain.errors import AccessDenied, GridError, GridUnavailable, InvalidInput

_DENIED = frozenset(
    {
        KafkaError._AUTHENTICATION, KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)  # fmt: skip
_MISSING = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_EXCEPTION,
    }
)  # fmt: skip
_WRONG = frozenset(
    {
        KafkaError._INVALID_ARG, KafkaError.INVALID_TRANSACTION_TIMEOUT, KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.POLICY_VIOLATION, KafkaError.INVALID_RECORD,
    }
)  # fmt: skip


def grid_error(error: KafkaError, topic: KafkaTopic, doing: str = "") -> GridError:
    """The error to raise in the place of Kafka's.

    Args:
        doing: what failed, for people.
    """
    said = topic.without_secrets(" ".join(str(error.str()).split()))
    where = f"{topic.name}: {doing}" if doing else topic.name
    code = error.code()
    if code in _DENIED:
        return AccessDenied(f"{where} is not permitted ({said}); look at the credentials, and ask for that permission")
    if code in _MISSING:
        return InvalidInput(f"there is no topic {topic.topic} at {topic.name} ({said})")
    if code in _WRONG:
        return InvalidInput(f"{where} was refused: {said}")
    return GridUnavailable(f"{where} failed for now: {said}")


@contextmanager
def kafka_errors(topic: KafkaTopic, doing: str = "") -> Iterator[None]:
    """Raise what ``grid_error`` makes of Kafka's errors in the block."""
    try:
        yield
    except KafkaException as error:
        raise grid_error(error.args[0], topic, doing) from None  # whose text may have secrets
